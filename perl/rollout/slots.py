"""Slots that decode together, each at another token of its response."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from perl import sharding
from perl.models.architecture import Architecture
from perl.rollout import sampler
from perl.rollout.choosing import Sampling, choose, folded
from perl.rollout.responses import Responses


class Task(NamedTuple):
    """What is to be sampled; the arguments of `refill.sample`.

    Attributes:
        arch: the decoder.
        params: its parameters, from `decoder.unrolled`.
        prompts: `[B, P]` int32, padded on the left.
        lengths: `[B]` int32, real tokens of each prompt.
        keys: random keys `[B * samples]`, one a response.
        sampling: how tokens are chosen.
        samples: responses to each prompt.
    """

    arch: Architecture
    params: Any
    prompts: jax.Array
    lengths: jax.Array
    keys: jax.Array
    sampling: Sampling
    samples: int

    @property
    def total(self) -> int:
        """How many responses there are."""
        return len(self.keys)

    @property
    def ring(self) -> int:
        """The places of a cache: of a prompt and of the longest response."""
        return self.prompts.shape[1] + self.sampling.max_tokens

    @property
    def axis(self) -> int:
        """The axis of slots in the arrays of a cache."""
        return 1 if self.arch.scan else 0


class Slots(NamedTuple):
    """What each of B slots has.

    Attributes:
        row: `[B]` int32, the number of its response; past the last where it has none.
        token: `[B]` int32, its last token.
        prompt: `[B]` int32, the tokens of its prompt.
        responses: B of them, in part.
    """

    row: jax.Array
    token: jax.Array
    prompt: jax.Array
    responses: Responses

    @property
    def free(self) -> jax.Array:
        """Which slots have no response that goes on, bool `[B]`."""
        longest = self.responses.tokens.shape[1]
        return self.responses.finished | (self.responses.lengths == longest)


class State(NamedTuple):
    """What the loops over slots carry.

    Attributes:
        slots: of B responses.
        cache: their keys and values, as `sampler.prefill` makes them.
        place: scalar int32, where in the cache the next ones are written.
        taken: scalar int32, how many responses have got a slot.
        ended: all responses, of which those that have ended are whole.
    """

    slots: Slots
    cache: Any
    place: jax.Array
    taken: jax.Array
    ended: Responses


def start(task: Task, count: int, cache: Any) -> State:
    """The state in which each of `count` slots is free.

    Args:
        task: what is to be sampled.
        count: slots.
        cache: the shapes of the cache of some prompts, any number of them.
    """
    longest, axis = task.sampling.max_tokens, task.axis
    none = sampler.no_tokens(count, longest)._replace(finished=jnp.ones(count, bool))
    zeros = jnp.zeros(count, jnp.int32)

    def empty(x):
        shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
        axes = [None] * x.ndim
        axes[axis : axis + 2] = 'batch', 'kv_heads'
        return sharding.constrain(jnp.zeros(shape, x.dtype), *axes)

    return State(
        slots=Slots(jnp.full_like(zeros, task.total), zeros, zeros, none),
        cache=jax.tree.map(empty, cache),
        place=jnp.int32(0),
        taken=jnp.int32(0),
        ended=sampler.no_tokens(task.total, longest),
    )


def step(task: Task, state: State) -> State:
    """The state with a token more in each slot `[B]` that is not free."""
    slots = state.slots
    lengths = slots.prompt + slots.responses.lengths
    logits, cache = sampler.decode(
        task.arch, task.params, slots.token, state.cache, lengths, state.place
    )
    place = (state.place + 1) % task.ring
    return state._replace(slots=extended(task, slots, logits), cache=cache, place=place)


def extended(task: Task, slots: Slots, logits: jax.Array) -> Slots:
    """The slots with a token from `logits [B, V]`, where their responses go on."""
    tokens, log_probs, lengths, finished = slots.responses
    row = jnp.minimum(slots.row, task.total - 1)
    key = folded(task.keys[row], lengths)
    token, log_prob = choose(logits, key, task.sampling)
    going = ~slots.free
    at = (jnp.arange(tokens.shape[1])[None] == lengths[:, None]) & going[:, None]
    responses = Responses(
        jnp.where(at, token[:, None], tokens),
        jnp.where(at, log_prob[:, None], log_probs),
        lengths + going.astype(lengths.dtype),
        finished | (going & sampler.ends(token, task.sampling)),
    )
    return slots._replace(token=token, responses=responses)
