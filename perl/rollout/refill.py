"""Sampling of more responses than are decoded together, inside one jitted call.

Responses differ in length. Here a fixed number of slots decode together, and where some
of their responses have ended, these slots take the next prompts that wait. All slots
write their next key and value at one place of the cache, so that a step is the step of
`sampler.sample`: the cache of a slot is a ring, and a new prompt is put right before
that place, wherever it is.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from perl import sharding
from perl.models import decoder
from perl.models.architecture import Architecture
from perl.rollout import sampler
from perl.rollout.choosing import Sampling, choose, folded
from perl.rollout.responses import Responses

# an eighth of the slots are filled together: with more of them, more would wait
_PARTS = 8


def sample(
    arch: Architecture,
    params: Any,
    prompts: jax.Array,
    lengths: jax.Array,
    keys: jax.Array,
    sampling: Sampling,
    slots: int,
    samples: int = 1,
) -> Responses:
    """As `sampler.sample` with a key for each response, `slots` of them at a time.

    The tokens of a response are the same in any number of slots, and its log-probs are
    so up to rounding.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain; an adapter serves all rows.
        prompts: `[B, P]` int32, padded on the left.
        lengths: `[B]` int32, real tokens of each prompt.
        keys: random keys `[B * samples]`, one a response.
        sampling: how tokens are chosen (static under jit).
        slots: the most responses that are decoded together (static under jit); a
            multiple of the devices that share a batch.
        samples: responses to each prompt (static under jit).

    Returns:
        `B * samples` responses, those to one prompt in a row.
    """
    total = len(keys)
    if slots >= total:
        return sampler.sample(arch, params, prompts, lengths, keys, sampling, samples)
    params = decoder.unrolled(arch, params)
    task = _Task(arch, params, prompts, lengths, keys, sampling, samples, _group(slots))

    def step(state):
        return _step(task, state)

    def busy(state):
        waiting = total - state.taken
        wanted = jnp.where(waiting > 0, jnp.minimum(waiting, task.group), slots)
        return jnp.sum(_free(state.slots)) < wanted

    def body(state):
        state = jax.lax.while_loop(busy, step, _refill(task, state))
        return state._replace(ended=_put(state.ended, state.slots))

    def waits(state):
        return state.taken < total

    ended = jax.lax.while_loop(waits, body, _start(task, slots)).ended
    return jax.tree.map(lambda x: _over_devices(x, 0), ended)


class _Task(NamedTuple):
    """What is to be sampled: the arguments of `sample`, and `group`, how many slots are
    filled together."""

    arch: Architecture
    params: Any
    prompts: jax.Array
    lengths: jax.Array
    keys: jax.Array
    sampling: Sampling
    samples: int
    group: int


class _Slots(NamedTuple):
    """What each of B slots has.

    Attributes:
        row: `[B]` int32, the number of its response; past the last where it has none.
        token: `[B]` int32, its last token.
        prompt: `[B]` int32, the tokens of its prompt.
        responses: B of them; a slot is free where its response has ended.
    """

    row: jax.Array
    token: jax.Array
    prompt: jax.Array
    responses: Responses


class _State(NamedTuple):
    """What the loops carry.

    Attributes:
        slots: of B responses.
        cache: their keys and values, as `sampler.prefill` makes them.
        place: scalar int32, where in the cache the next ones are written.
        taken: scalar int32, how many responses have got a slot.
        ended: all responses, of which those that have ended are whole.
    """

    slots: _Slots
    cache: Any
    place: jax.Array
    taken: jax.Array
    ended: Responses


def _group(slots):
    """How many slots are filled together: on a mesh, some of each device."""
    mesh, few = jax.sharding.get_abstract_mesh(), max(1, slots // _PARTS)
    return few if mesh.empty else sharding.batch_rows(few, slots, mesh)


def _start(task, slots):
    """The state in which every slot is free."""
    total, longest = len(task.keys), task.sampling.max_tokens
    none = sampler.no_tokens(slots, longest)._replace(finished=jnp.ones(slots, bool))
    zeros = jnp.zeros(slots, jnp.int32)
    held = _Slots(jnp.full_like(zeros, total), zeros, zeros, none)
    axis = _rows_of(task.arch)

    def empty(x):
        shape = (*x.shape[:axis], slots, *x.shape[axis + 1 :])
        return _over_devices(jnp.zeros(shape, x.dtype), axis)

    cache = jax.tree.map(empty, jax.eval_shape(lambda: _new(task, jnp.int32(0))[1]))
    zero, ended = jnp.int32(0), sampler.no_tokens(total, longest)
    return _State(held, cache, zero, zero, ended)


def _refill(task, state):
    """The state after the next responses have got free slots, and a first token."""
    new, cache = _new(task, state.taken)
    count, axis = len(state.slots.row), _rows_of(task.arch)
    free = jnp.nonzero(_free(state.slots), size=task.group, fill_value=count)[0]
    # what is put into a slot past the last is dropped
    free = jnp.where(new.row < len(task.keys), free, count)

    def put(old, new):
        new = jnp.roll(new, state.place - task.prompts.shape[1], axis=-2)
        where = (slice(None),) * axis + (free,)
        return old.at[where].set(new, mode='drop')

    return state._replace(
        slots=jax.tree.map(
            lambda x, y: x.at[free].set(y, mode='drop'), state.slots, new
        ),
        cache=jax.tree.map(put, state.cache, cache),
        taken=jnp.minimum(state.taken + task.group, len(task.keys)),
    )


def _new(task, first):
    """The responses from number `first` on with one token each, as many as are filled
    together, and the cache of their prompts."""
    shared = math.gcd(task.group, task.samples)
    row = first + jnp.arange(task.group)
    prompt = jnp.minimum(row[::shared] // task.samples, len(task.prompts) - 1)
    lengths, longest = task.lengths[prompt], task.sampling.max_tokens
    logits, cache = sampler.prefill(
        task.arch, task.params, task.prompts[prompt], lengths, longest, shared
    )
    none = sampler.no_tokens(task.group, longest)
    slots = _Slots(row, row, jnp.repeat(lengths, shared), none)
    return _extended(task, slots, logits), cache


def _step(task, state):
    """The state with a token more in each slot that is not free."""
    slots = state.slots
    lengths = slots.prompt + slots.responses.lengths
    logits, cache = sampler.decode(
        task.arch, task.params, slots.token, state.cache, lengths, state.place
    )
    size = task.prompts.shape[1] + task.sampling.max_tokens
    return state._replace(
        slots=_extended(task, slots, logits),
        cache=cache,
        place=(state.place + 1) % size,
    )


def _extended(task, slots, logits):
    """The slots with a token from `logits [B, V]`, where their responses go on."""
    tokens, log_probs, lengths, finished = slots.responses
    row = jnp.minimum(slots.row, len(task.keys) - 1)
    key = folded(task.keys[row], lengths)
    token, log_prob = choose(logits, key, task.sampling)
    going = ~_free(slots)
    at = (jnp.arange(tokens.shape[1])[None] == lengths[:, None]) & going[:, None]
    responses = Responses(
        jnp.where(at, token[:, None], tokens),
        jnp.where(at, log_prob[:, None], log_probs),
        lengths + going.astype(lengths.dtype),
        finished | (going & sampler.ends(token, task.sampling)),
    )
    return slots._replace(token=token, responses=responses)


def _free(slots):
    """Which slots `[B]` have no response that goes on."""
    longest = slots.responses.tokens.shape[1]
    return slots.responses.finished | (slots.responses.lengths == longest)


def _put(ended, slots):
    """All responses, with those of the slots."""
    return jax.tree.map(
        lambda x, y: x.at[slots.row].set(y, mode='drop'), ended, slots.responses
    )


def _rows_of(arch):
    """The axis of rows in the arrays of a cache."""
    return 1 if arch.scan else 0


def _over_devices(x, axis):
    """An array with its rows over the devices that share a batch; keys and values of a
    cache also over those that share heads."""
    axes = [None] * x.ndim
    axes[axis] = 'batch'
    if x.ndim > 3:
        axes[axis + 1] = 'kv_heads'
    return sharding.constrain(x, *axes)
