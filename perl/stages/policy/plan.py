"""The update of a policy stage on paper."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from perl import config as configs
from perl.adapters.tunings import Tuning
from perl.config import lineage, rewards
from perl.data import batching
from perl.losses.algorithms import ALGORITHMS
from perl.models import frozen_base, heads
from perl.models.architecture import Architecture, parameters
from perl.stages import paper
from perl.stages.frozen import Frozen
from perl.stages.policy import objective
from perl.stages.policy.episodes import Experience
from perl.stages.policy.feed import TEXT
from perl.stages.policy.objective import Objective
from perl.training import optimizer as optimizers
from perl.training.plan import Plan


def plan(arch: Architecture, config: ConfigDict, stage: str) -> Plan:
    """The update of one minibatch of full length."""
    section, leaves = config[stage], parameters(arch)
    base = frozen_base.declared(arch, leaves)
    tuning = configs.tuning(section.tuning)
    trainable = {'policy': tuning.declare(leaves)}
    frozen = {
        'policy': {} if tuning.replaces_base else base,
        'reference': paper.source_of(arch, config, stage, base),
    }
    if not ALGORITHMS[section.algorithm].group:
        critic = _critic(config, section)
        head = {heads.HEAD: heads.head_leaves(arch.width)}
        trainable['value'] = {**critic.declare(leaves), **head}
        frozen['value'] = {} if critic.replaces_base else base
    if rewards.by_models(section.reward):
        frozen['reward'] = paper.panel_of(arch, config, section.reward, base)
    return Plan(
        loss=functools.partial(
            objective.loss,
            arch=arch,
            objective=Objective.of(section),
            samples=objective.neighbours(section),
        ),
        trainable=trainable,
        frozen=Frozen(**frozen),
        batch=_batch(arch, config, section),
        optimizer=_optimizer(section, trainable),
        frozen_dtype=arch.base_dtype,
        micro_batches=section.micro_batches,
        neighbours=objective.neighbours(section),
        seed=config.seed,
    )


def _critic(config: ConfigDict, section: ConfigDict) -> Tuning:
    """How the value is tuned: as the reward model that it starts from, if it does."""
    known = configs.known_stages(config)
    if section.value_start == 'reward' and section.reward in known:
        section = config[lineage.origin(config, section.reward)]
    return configs.tuning(section.tuning)


def _optimizer(section: ConfigDict, trainable: Any) -> optax.GradientTransformation:
    """The optimizer of the policy, and one of the value model at its own rate."""
    updates = section.epochs * section.minibatches
    steps = section.steps * updates
    policy = optimizers.make(section.optimizer, steps, trainable)
    if section.value_warmup:
        still = section.value_warmup * updates
        policy = optax.chain(policy, optax.scale_by_schedule(lambda n: n >= still))
    config = section.optimizer.copy_and_resolve_references()
    config.learning_rate = section.value_learning_rate
    each = {'policy': policy, 'value': optimizers.make(config, steps, trainable)}
    return optax.partition(each, {name: name for name in trainable})


def _batch(arch: Architecture, config: ConfigDict, section: ConfigDict) -> Experience:
    rows = section.batch_size // section.minibatches
    P, R = config.lengths.prompt, config.lengths.response

    def array(dtype, *shape):
        return jax.ShapeDtypeStruct((rows, *shape), dtype)

    optional = {}
    if not ALGORITHMS[section.algorithm].group:
        optional |= {name: array(jnp.float32, R) for name in ('returns', 'values')}
    if section.kl_in == 'loss' and section.kl_coefficient:
        optional |= {'reference': array(jnp.float32, R), 'beta': array(jnp.float32)}
    if section.sampler_correction != 'none' and not arch.exact:
        optional['weights'] = array(jnp.float32, R)
    if section.ptx_coefficient:
        text = batching.on_paper((section.ptx_batch_size, P + R))
        weight = jax.ShapeDtypeStruct((section.ptx_batch_size,), jnp.float32)
        optional['text'] = {**{name: text[name] for name in TEXT}, 'weight': weight}
    return Experience(
        tokens=array(jnp.int32, P + R),
        prompt_lengths=array(jnp.int32),
        mask=array(jnp.bool_, R),
        log_probs=array(jnp.float32, R),
        advantages=array(jnp.float32, R),
        **optional,
    )
