"""Sampling of more responses than are decoded together, inside one jitted call.

Responses differ in length. Here a fixed number of slots decode together, and where some
of their responses have ended, these slots take the next prompts that wait. All slots
write their next key and value at one place of the cache, so that a step is the step of
`sampler.sample`: the cache of a slot is a ring, and a new prompt is put right before
that place, wherever it is.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from perl import sharding
from perl.models import decoder
from perl.models.architecture import Architecture
from perl.rollout import sampler, slots
from perl.rollout.choosing import Sampling
from perl.rollout.responses import Responses
from perl.rollout.slots import Slots, Task

# an eighth of the slots are filled together: with more of them, more would wait
_PARTS = 8


def sample(
    arch: Architecture,
    params: Any,
    prompts: jax.Array,
    lengths: jax.Array,
    keys: jax.Array,
    sampling: Sampling,
    count: int,
    samples: int = 1,
) -> Responses:
    """As `sampler.sample` with a key for each response, in a few slots.

    The logits of a response are the same in any number of slots, up to rounding. In
    half precision that may turn a token, where two of them are about as likely.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain; an adapter serves all rows.
        prompts: `[B, P]` int32, padded on the left.
        lengths: `[B]` int32, real tokens of each prompt.
        keys: random keys `[B * samples]`, one a response.
        sampling: how tokens are chosen (static under jit).
        count: slots, the most responses that are decoded together (static under jit);
            a multiple of the devices that share a batch.
        samples: responses to each prompt (static under jit).

    Returns:
        `B * samples` responses, those to one prompt in a row.
    """
    if count >= len(keys):
        return sampler.sample(arch, params, prompts, lengths, keys, sampling, samples)
    params, group = decoder.unrolled(arch, params), _group(count)
    task = Task(arch, params, prompts, lengths, keys, sampling, samples)

    def step(state):
        return slots.step(task, state)

    def busy(state):
        waiting = task.total - state.taken
        wanted = jnp.where(waiting > 0, jnp.minimum(waiting, group), count)
        return jnp.sum(state.slots.free) < wanted

    def turn(state):
        state = jax.lax.while_loop(busy, step, _refilled(task, group, state))
        return state._replace(ended=_kept(state.ended, state.slots))

    def waits(state):
        return state.taken < task.total

    cache = jax.eval_shape(lambda: _new(task, group, jnp.int32(0))[1])
    state = jax.lax.while_loop(waits, turn, slots.start(task, count, cache))
    return jax.tree.map(_over_devices, state.ended)


def _group(count):
    """How many slots are filled together: on a mesh, as many on each device."""
    mesh, few = jax.sharding.get_abstract_mesh(), max(1, count // _PARTS)
    return few if mesh.empty else sharding.batch_rows(few, count, mesh)


def _refilled(task, group, state):
    """The state after the next responses have got free slots, and a first token."""
    new, cache = _new(task, group, state.taken)
    count = len(state.slots.row)
    free = jnp.nonzero(state.slots.free, size=group, fill_value=count)[0]
    # what is put into a slot past the last is dropped
    free = jnp.where(new.row < task.total, free, count)

    def put(old, new):
        return old.at[free].set(new, mode='drop')

    def put_cache(old, new):
        new = jnp.roll(new, state.place - task.prompts.shape[1], axis=-2)
        where = (slice(None),) * task.axis + (free,)
        return old.at[where].set(new, mode='drop')

    return state._replace(
        slots=jax.tree.map(put, state.slots, new),
        cache=jax.tree.map(put_cache, state.cache, cache),
        taken=jnp.minimum(state.taken + group, task.total),
    )


def _new(task, group, first):
    """The responses from number `first` on with one token each, a group of them, and
    the cache of their prompts; some may be past the last."""
    # as many prompts as divide over the devices that the group divides over
    shared = math.gcd(sharding.rows_of_a_device(group), task.samples)
    row = first + jnp.arange(group)
    prompt = jnp.minimum(row[::shared] // task.samples, len(task.prompts) - 1)
    lengths, longest = task.lengths[prompt], task.sampling.max_tokens
    logits, cache = sampler.prefill(
        task.arch, task.params, task.prompts[prompt], lengths, longest, shared
    )
    none = sampler.no_tokens(group, longest)
    new = Slots(row, row, jnp.repeat(lengths, shared), none)
    return slots.extended(task, new, logits), cache


def _kept(ended, slots):
    """All responses, with those of the slots."""
    return jax.tree.map(
        lambda x, y: x.at[slots.row].set(y, mode='drop'), ended, slots.responses
    )


def _over_devices(x):
    """An array of all responses, over the devices that share a batch."""
    return sharding.constrain(x, 'batch', *[None] * (x.ndim - 1))
