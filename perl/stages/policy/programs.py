"""The programs of an iteration, lowered for a mesh that need not exist."""

import math

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from perl import sharding
from perl.models.architecture import Architecture
from perl.rollout.choosing import Sampling
from perl.stages.policy import iteration
from perl.training.compiled import Program
from perl.training.plan import Plan


def lowered(
    plan: Plan, arch: Architecture, config: ConfigDict, stage: str, mesh: Mesh
) -> dict[str, Program]:
    """Rollout, scores and update of a policy stage, none of them compiled.

    Args:
        plan: of the update.
        arch: the decoder.
        config: of the experiment.
        stage: its name in the config.
        mesh: of the devices that they will be compiled for.
    """
    section = config[stage]
    state, frozen, batch = plan.abstract(mesh)
    trainable = state['trainable']
    shape = section.batch_size, config.lengths.prompt
    prompts = {
        'tokens': jax.ShapeDtypeStruct(shape, 'int32'),
        'lengths': jax.ShapeDtypeStruct(shape[:1], 'int32'),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    prompts, key = sharding.on_paper((prompts, key), mesh)
    sampling = Sampling(
        config.lengths.response, arch.vocabulary - 1, section.temperature
    )
    slots = iteration.rollout_rows(section, mesh)
    program = iteration.rollout_program(arch, sampling, section.samples, slots)
    rollout = program.lower(trainable['policy'], frozen.policy, prompts, key)
    sampled = sharding.on_paper(rollout.out_info, mesh)
    score = iteration.score_program(arch, section)
    return {
        'rollout': Program(rollout, _cache_bytes(arch, config, slots, mesh)),
        'score': Program(score.lower(trainable, frozen, sampled)),
        'update': Program(plan.update().lower(state, frozen, batch)),
    }


def _cache_bytes(arch, config, rows, mesh):
    """Bytes on a device of the keys and values of a rollout, at its full length."""
    slots = config.lengths.prompt + config.lengths.response
    shape = rows, arch.kv_heads, slots, arch.head_width
    spec = sharding.spec(('batch', 'kv_heads', None, None), shape, mesh)
    own = NamedSharding(mesh, spec).shard_shape(shape)
    return 2 * arch.layers * math.prod(own) * jnp.dtype(arch.dtype).itemsize
