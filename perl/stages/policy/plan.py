"""The update of a policy stage on paper."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from perl import config as configs
from perl.config import rewards
from perl.data import batching
from perl.losses.algorithms import ALGORITHMS
from perl.models import heads
from perl.models.architecture import Architecture, parameters
from perl.stages import paper
from perl.stages.policy import objective
from perl.stages.policy.objective import Objective
from perl.training import optimizer as optimizers
from perl.training.plan import Plan


def plan(arch: Architecture, config: ConfigDict, stage: str) -> Plan:
    """The update of one minibatch of full length."""
    section, leaves = config[stage], parameters(arch)
    tuning = configs.tuning(section.tuning)
    delta, base = tuning.declare(leaves), {} if tuning.replaces_base else leaves
    trainable, frozen = {'policy': delta}, {'policy': base}
    if not ALGORITHMS[section.algorithm].group:
        trainable['value'] = {**delta, heads.HEAD: heads.head_leaves(arch.width)}
        frozen['value'] = base
    frozen['reference'] = paper.source_of(config, section.start, leaves)
    if rewards.by_models(section.reward):
        frozen['reward'] = paper.panel_of(arch, config, section.reward, leaves)
    return Plan(
        loss=functools.partial(
            objective.loss, arch=arch, objective=Objective.of(section)
        ),
        trainable=trainable,
        frozen=frozen,
        batch=_batch(config, section),
        optimizer=optimizer(section, tuple(trainable)),
        frozen_dtype=arch.dtype,
        micro_batches=section.micro_batches,
        seed=config.seed,
    )


def optimizer(
    section: ConfigDict, roles: tuple[str, ...]
) -> optax.GradientTransformation:
    """That of the policy and, with its own learning rate, that of the value."""
    updates = section.epochs * section.minibatches
    steps = section.steps * updates
    policy = optimizers.make(section.optimizer, steps)
    if section.value_warmup:
        still = section.value_warmup * updates
        policy = optax.chain(policy, optax.scale_by_schedule(lambda n: n >= still))
    value = section.optimizer.copy_and_resolve_references()
    value.learning_rate = section.value_learning_rate
    each = {'policy': policy, 'value': optimizers.make(value, steps)}
    return optax.partition(each, {name: name for name in roles})


def _batch(config: ConfigDict, section: ConfigDict) -> dict[str, Any]:
    rows = section.batch_size // section.minibatches
    P, R = config.lengths.prompt, config.lengths.response

    def array(dtype, *shape):
        return jax.ShapeDtypeStruct((rows, *shape), dtype)

    batch = {
        'tokens': array(jnp.int32, P + R),
        'lengths': array(jnp.int32),
        'mask': array(jnp.bool_, R),
        'log_probs': array(jnp.float32, R),
        'advantages': array(jnp.float32, R),
    }
    if not ALGORITHMS[section.algorithm].group:
        batch |= {name: array(jnp.float32, R) for name in ('returns', 'values')}
    if section.kl_in == 'loss' and section.kl_coefficient:
        batch |= {'reference': array(jnp.float32, R), 'beta': array(jnp.float32)}
    if section.ptx_coefficient:
        text = batching.on_paper((section.ptx_batch_size, P + R))
        names = ('tokens', 'positions', 'segments', 'completion')
        weight = jax.ShapeDtypeStruct((section.ptx_batch_size,), jnp.float32)
        batch['ptx'] = {**{name: text[name] for name in names}, 'weight': weight}
    return batch
