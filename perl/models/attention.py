"""Attention of the decoder: over whole rows, and over a cache of keys and values.

Plain `jnp`, in the shapes that XLA's CPU backend was measured to run fastest: batch
and heads lead every contraction, masks are added rather than selected, the
softmax denominator is applied after multiplying by V, and rows are cut into blocks of
queries so that most keys of the future are never multiplied.

Scores and softmax are float32 whatever the inputs are. A query that may see no key
(padding) gets a mean of values: finite, and so is its gradient.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_HIDDEN = -1e30  # finite: a row of nothing else still has a softmax and a gradient
_BLOCK = 128  # queries; smaller ones skip more keys, in thinner matrix products
_MOST_BLOCKS = 8  # of one row: long rows get larger blocks, not longer programs


def causal(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segments: jax.Array | None = None,
    output_slots: jax.Array | None = None,
    *,
    scale: float | None = None,
    soft_cap: float | None = None,
    window: int | jax.Array | None = None,
    positions: jax.Array | None = None,
) -> jax.Array:
    """Self-attention `[B, T, H, N]` of rows to their own past.

    Args:
        q: `[B, T, H, N]`.
        k: `[B, T, K, N]`; H is a multiple of K, query head h reads key head
            h // (H / K) (grouped queries, arXiv 2305.13245).
        v: as `k`.
        segments: `[B, T]` int32: -1 is padding, 0 is seen by every later token of
            the row, k > 0 by later tokens of the same segment. None is one segment.
        scale: of the scores; 1 / sqrt(N) by default.
        soft_cap: bounds the scores to +-soft_cap with a tanh (Gemma 2, arXiv
            2408.00118); None leaves them.
        window: how many tokens a token sees, itself included; None sees all.
        positions: `[B, T]` int32, that the window counts: in a row of several
            completions, the slots of the others are not between. None counts slots.
    """
    tokens, groups = q.shape[1], q.shape[2] // k.shape[2]
    q, k, v = _group(q, k.shape[2], scale), k.swapaxes(1, 2), v.swapaxes(1, 2)
    slots = jnp.arange(k.shape[2])[None]
    if window is None:
        positions = None
    elif positions is None:
        positions = slots
    keys = _Slots(slots, segments, positions)
    if output_slots is not None:
        allowed = _allowed(_at(keys, output_slots), keys, window)
        return _ungroup(_attend(q, k, v, allowed, soft_cap), tokens)
    blocks = []
    for start, stop in _blocks(tokens):
        allowed = _allowed(keys.cut(start, stop), keys.cut(0, stop), window)
        queries = q[:, :, start * groups : stop * groups]
        past = k[:, :, :stop], v[:, :, :stop]
        blocks.append(_attend(queries, *past, allowed, soft_cap))
    return _ungroup(jnp.concatenate(blocks, axis=2), tokens)


def cached(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array,
    *,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> jax.Array:
    """Attention `[B, T, H, N]` of a few new tokens to a cache.

    The cache keeps the slots of one head together (`[B, K, S, N]`), which is what a
    decoding step reads: on CPU about twice as fast as `[B, S, K, N]`.

    Args:
        q: `[B, T, H, N]`.
        k: `[B, K, S, N]`, the new tokens' keys already written.
        v: as `k`.
        mask: bool, the slots seen: `[B, S]`, or `[B, T, S]` where tokens differ.
        scale, soft_cap: as in `causal`.
    """
    mask = mask if mask.ndim == 3 else mask[:, None]
    out = _attend(_group(q, k.shape[1], scale), k, v, mask, soft_cap)
    return _ungroup(out, q.shape[1])


def at(arrays: Any, slots: jax.Array) -> Any:
    """A tree of arrays `[B, T, ...]` at `slots [B, E]`: `[B, E, ...]` each."""
    return jax.tree.map(lambda x: jax.vmap(lambda row, s: row[s])(x, slots), arrays)


def _attend(q, k, v, allowed, soft_cap):
    """`[B, K, T * G, N]` of `q` likewise, `k, v [B, K, S, N]`, `allowed [B, T, S]`."""
    scores = _product('bkqn,bksn->bkqs', q, k)
    if soft_cap is not None:
        scores = soft_cap * jnp.tanh(scores / soft_cap)
    bias = jnp.where(allowed, 0.0, _HIDDEN).astype(jnp.float32)
    bias = jnp.repeat(bias, q.shape[2] // bias.shape[1], axis=1)
    scores = scores + bias[:, None]
    # softmax(scores) v = (exp(scores - top) v) / sum exp(scores - top)
    top = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - top)
    out = _product('bkqs,bksn->bkqn', weights.astype(v.dtype), v)
    return (out / weights.sum(axis=-1, keepdims=True)).astype(v.dtype)


def _blocks(tokens: int) -> list[tuple[int, int]]:
    """Where the blocks of queries start and stop."""
    size = max(_BLOCK, -(-tokens // (_MOST_BLOCKS * _BLOCK)) * _BLOCK)
    return [(i, min(i + size, tokens)) for i in range(0, tokens, size)]


class _Slots(NamedTuple):
    """Some slots of the rows, each array `[B or 1, T]` or None."""

    slots: jax.Array
    segments: jax.Array | None
    positions: jax.Array | None

    def cut(self, start: int, stop: int) -> '_Slots':
        return jax.tree.map(lambda x: x[:, start:stop], self)


def _at(keys, slots):
    """The slots that are read, `[B, E]`, of `keys`."""
    batch = len(slots)
    rest = keys._replace(slots=None)
    rest = jax.tree.map(lambda x: jnp.broadcast_to(x, (batch, x.shape[1])), rest)
    return at(rest, slots)._replace(slots=slots)


def _allowed(queries, keys, window):
    """Which keys `[B or 1, S]` the queries `[B or 1, T]` see: `[B or 1, T, S]`."""
    pairs = [
        None if own is None else (own[..., None], seen[:, None])
        for own, seen in zip(queries, keys, strict=True)
    ]
    slots, segments, positions = pairs
    allowed = slots[0] >= slots[1]
    if positions is not None:
        allowed &= positions[0] - positions[1] < window
    if segments is None:
        return allowed
    own, seen = segments
    return allowed & (seen >= 0) & ((own == seen) | (seen == 0))


def _group(q: jax.Array, kv_heads: int, scale: float | None) -> jax.Array:
    """Scaled `[B, T, H, N]` as `[B, K, T * G, N]`: queries of a key head together."""
    batch, tokens, _, width = q.shape
    q = q * (width**-0.5 if scale is None else scale)
    q = q.reshape(batch, tokens, kv_heads, -1).swapaxes(1, 2)
    return q.reshape(batch, kv_heads, -1, width)


def _ungroup(out: jax.Array, tokens: int) -> jax.Array:
    """`[B, K, T * G, N]` as `[B, T, H, N]`."""
    batch, kv_heads, _, width = out.shape
    out = out.reshape(batch, kv_heads, tokens, -1).swapaxes(1, 2)
    return out.reshape(batch, tokens, -1, width)


_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
