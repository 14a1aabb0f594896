"""Batched sampling with a key/value cache, inside one jitted call.

Prompts are padded on the left, so that every row writes the same slot of the cache and
the responses begin in one column. The sampler reads the very arrays that the trainer
updates.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.models import decoder
from perl.models.architecture import Architecture
from perl.rollout.choosing import Sampling, choose, folded
from perl.rollout.responses import Responses


def sample(
    arch: Architecture,
    params: Any,
    prompts: jax.Array,
    lengths: jax.Array,
    key: jax.Array,
    sampling: Sampling,
    samples: int = 1,
) -> Responses:
    """Samples responses to prompts, each of which is encoded once.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        prompts: `[B, P]` int32, padded on the left.
        lengths: `[B]` int32, real tokens of each prompt.
        key: a random key, consumed; or keys `[B * samples]`, one a response, which
            then depends on no other.
        sampling: how tokens are chosen (static under jit).
        samples: responses to each prompt (static under jit).

    Returns:
        `B * samples` responses, those to one prompt in a row.
    """
    R = sampling.max_tokens
    params = decoder.unrolled(arch, params)
    logits, cache = prefill(arch, params, prompts, lengths, R, samples)
    first, lengths = prompts.shape[1], jnp.repeat(lengths, samples)

    def extend(responses, logits, t):
        token, log_prob = choose(logits, folded(key, t), sampling)
        return token, _record(responses, token, log_prob, t, sampling)

    def more(carry):
        t, _, _, responses = carry
        return (t < R) & ~jnp.all(responses.finished)

    def body(carry):
        t, token, cache, responses = carry
        slot = first + t - 1
        logits, cache = decode(arch, params, token, cache, lengths + t, slot)
        token, responses = extend(responses, logits, t)
        return t + 1, token, cache, responses

    token, responses = extend(no_tokens(len(lengths), R), logits, 0)
    carry = jnp.int32(1), token, cache, responses
    return jax.lax.while_loop(more, body, carry)[-1]


def prefill(
    arch: Architecture,
    params: Any,
    prompts: jax.Array,
    lengths: jax.Array,
    response: int,
    samples: int = 1,
) -> tuple[jax.Array, Any]:
    """What the prompts alone say.

    Args:
        arch: the decoder.
        params: its parameters, from `decoder.unrolled`.
        prompts: `[B, P]` int32, padded on the left.
        lengths: `[B]` int32, real tokens of each prompt.
        response: R, the slots that the cache has after the prompts.
        samples: how often each prompt is repeated, after it was encoded.

    Returns:
        Logits `[B * samples, V]` of the first token; and the cache of each layer, keys
        and values `[B * samples, K, P + R, N]`, stacked where the architecture scans.
    """
    B, P = prompts.shape
    positions, segments = left_padded(lengths, P)
    last = jnp.full((B, 1), P - 1)
    states, kv = decoder.forward(
        arch, params, prompts, positions, segments, output_slots=last
    )
    rows, slots = (1, 3) if arch.scan else (0, 2)

    def widen(x):
        widths = [(0, 0)] * x.ndim
        widths[slots] = (0, response)
        return jnp.pad(jnp.repeat(x, samples, rows), widths)

    logits = decoder.unembed(arch, params, states)[:, 0]
    return jnp.repeat(logits, samples, 0), jax.tree.map(widen, kv)


def decode(
    arch: Architecture,
    params: Any,
    token: jax.Array,
    cache: Any,
    lengths: jax.Array,
    slot: jax.Array,
) -> tuple[jax.Array, Any]:
    """One step: from the last token of each row to the logits of the next.

    The cache is a ring: the tokens of a row, prompt and response, are in the slots up
    to `slot`, and where these are not enough in the last slots before them.

    Args:
        arch: the decoder.
        params: its parameters, from `decoder.unrolled`.
        token: `[B]` int32.
        cache: as `prefill` makes it, of S slots.
        lengths: `[B]` int32, the tokens of each row, this one included.
        slot: scalar int32, where its key and value are written, in all rows.

    Returns:
        Logits `[B, V]`, and the cache with the token.
    """
    size = jax.tree.leaves(cache)[0].shape[-2]
    age = (slot - jnp.arange(size)[None]) % size
    visible = jnp.where(age < lengths[:, None], 0, -1)
    position = lengths[:, None] - 1
    states, cache = decoder.forward(
        arch, params, token[:, None], position, visible, cache, slot
    )
    return decoder.unembed(arch, params, states)[:, 0], cache


def no_tokens(batch: int, response: int) -> Responses:
    """B responses of R slots before anything is sampled, `[B, R]`."""
    return Responses(
        tokens=jnp.zeros((batch, response), jnp.int32),
        log_probs=jnp.zeros((batch, response), jnp.float32),
        lengths=jnp.zeros(batch, jnp.int32),
        finished=jnp.zeros(batch, bool),
    )


def ends(token: jax.Array, sampling: Sampling) -> jax.Array:
    """Which tokens `[B]` end a response, bool `[B]`."""
    eos = sampling.eos
    return jnp.isin(token, np.ravel([] if eos is None else eos).astype(token.dtype))


def _record(responses, token, log_prob, t, sampling):
    """The responses with token t `[B]`, where they had not ended before it."""
    tokens, log_probs, lengths, finished = responses
    return Responses(
        tokens.at[:, t].set(token),
        log_probs.at[:, t].set(jnp.where(finished, 0.0, log_prob)),
        lengths + (~finished).astype(lengths.dtype),
        finished | ends(token, sampling),
    )


def left_padded(
    lengths: jax.Array, prompt: int, response: int = 0
) -> tuple[jax.Array, jax.Array]:
    """Positions and segments of rows whose prompts end at slot `prompt`.

    Args:
        lengths: `[B]` int32, real tokens of each prompt.
        prompt: slots of the prompts.
        response: slots of the responses after them.

    Returns:
        Positions, 0 in the padding, and segments, -1 in the padding:
        `[B, prompt + response]` int32 each.
    """
    slots = jnp.arange(prompt + response)[None]
    start = prompt - lengths[:, None]
    return jnp.maximum(slots - start, 0), jnp.where(slots >= start, 0, -1)
