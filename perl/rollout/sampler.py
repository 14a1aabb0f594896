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
from perl.rollout.choosing import Sampling, choose
from perl.rollout.responses import Responses


def sample(
    arch: Architecture,
    params: Any,
    prompts: jax.Array,
    lengths: jax.Array,
    key: jax.Array,
    sampling: Sampling,
) -> Responses:
    """Samples one response a row.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        prompts: `[B, P]` int32, padded on the left.
        lengths: `[B]` int32, real tokens of each prompt.
        key: a random key, consumed.
        sampling: how tokens are chosen (static under jit).
    """
    B, P = prompts.shape
    R, eos = sampling.max_tokens, sampling.eos
    params = decoder.unrolled(arch, params)

    def extend(responses, logits, t):
        token, log_prob = choose(logits, jax.random.fold_in(key, t), sampling)
        return token, _record(responses, token, log_prob, t, eos)

    def more(carry):
        t, _, _, responses = carry
        return (t < R) & ~jnp.all(responses.finished)

    def body(carry):
        t, token, cache, responses = carry
        logits, cache = _decode(arch, params, token, cache, lengths, (P, R, t))
        token, responses = extend(responses, logits, t)
        return t + 1, token, cache, responses

    logits, cache = _prefill(arch, params, prompts, lengths, R)
    token, responses = extend(_no_tokens(B, R), logits, 0)
    carry = jnp.int32(1), token, cache, responses
    return jax.lax.while_loop(more, body, carry)[-1]


def _prefill(arch, params, prompts, lengths, response):
    """Logits `[B, V]` of the first token, and the cache with room for `response`."""
    B, P = prompts.shape
    positions, segments = left_padded(lengths, P)
    last = jnp.full((B, 1), P - 1)
    states, kv = decoder.forward(
        arch, params, prompts, positions, segments, output_slots=last
    )
    cache = _room(kv, response, stacked=arch.scan)
    return decoder.unembed(arch, params, states)[:, 0], cache


def _decode(arch, params, token, cache, lengths, place):
    """Logits `[B, V]` of token t, from the one before it `[B]`, and the cache with
    that; `place` is (P, R, t)."""
    prompt, response, t = place
    slots, start = jnp.arange(prompt + response)[None], prompt - lengths[:, None]
    slot = prompt + t - 1
    visible = jnp.where((slots >= start) & (slots <= slot), 0, -1)
    position = lengths[:, None] + t - 1
    states, cache = decoder.forward(
        arch, params, token[:, None], position, visible, cache, slot
    )
    return decoder.unembed(arch, params, states)[:, 0], cache


def _no_tokens(batch, response):
    """B responses of R slots before anything is sampled."""
    return Responses(
        tokens=jnp.zeros((batch, response), jnp.int32),
        log_probs=jnp.zeros((batch, response), jnp.float32),
        lengths=jnp.zeros(batch, jnp.int32),
        finished=jnp.zeros(batch, bool),
    )


def _record(responses, token, log_prob, t, eos):
    """The responses with token t `[B]`, where they had not ended before it."""
    tokens, log_probs, lengths, finished = responses
    ends = np.ravel([] if eos is None else eos).astype(token.dtype)
    ended = jnp.isin(token, ends)
    return Responses(
        tokens.at[:, t].set(token),
        log_probs.at[:, t].set(jnp.where(finished, 0.0, log_prob)),
        lengths + (~finished).astype(lengths.dtype),
        finished | ended,
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


def _room(kv, extra, stacked):
    """The cache of the prompts with `extra` empty slots behind them."""
    axis = 3 if stacked else 2

    def widen(x):
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, extra)
        return jnp.pad(x, widths)

    return jax.tree.map(widen, kv)
