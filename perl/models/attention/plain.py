"""Attention in plain `jnp`, which every platform compiles.

In the shapes that XLA's CPU backend was measured to run fastest: batch and heads lead
every contraction, masks are added rather than selected, the softmax denominator is
applied after multiplying by V, and rows are cut into blocks of queries so that most
keys of the future are never multiplied.

Scores and softmax are float32 whatever the inputs are. A query that may see no key
(padding) gets a mean of values: finite, and so is its gradient.
"""

import functools

import jax
import jax.numpy as jnp

from perl.models.attention.visible import Slots, allowed

_HIDDEN = -1e30  # finite: a row of nothing else still has a softmax and a gradient
_BLOCK = 128  # queries; smaller ones skip more keys, in thinner matrix products
_MOST_BLOCKS = 8  # of one row: long rows get larger blocks, not longer programs


def causal(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    keys: Slots,
    output_slots: jax.Array | None,
    *,
    scale: float | None,
    soft_cap: float | None,
    window: int | jax.Array | None,
) -> jax.Array:
    """Self-attention `[B, T, H, N]` of rows to their own past.

    Args:
        q: `[B, T, H, N]`.
        k: `[B, S, K, N]`, H a multiple of K.
        v: as `k`.
        keys: the S slots of the rows.
        output_slots: `[B, T]` int32, the slots of the queries; None where they are all.
        scale, soft_cap, window: as in `attention.causal`.
    """
    tokens, groups = q.shape[1], q.shape[2] // k.shape[2]
    q, k, v = _group(q, k.shape[2], scale), k.swapaxes(1, 2), v.swapaxes(1, 2)
    if output_slots is not None:
        seen = allowed(keys.at(output_slots), keys, window)
        return _ungroup(_attend(q, k, v, seen, soft_cap), tokens)
    blocks = []
    for start, stop in _blocks(tokens):
        seen = allowed(keys.cut(start, stop), keys.cut(0, stop), window)
        queries = q[:, :, start * groups : stop * groups]
        past = k[:, :, :stop], v[:, :, :stop]
        blocks.append(_attend(queries, *past, seen, soft_cap))
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
        scale, soft_cap: as in `attention.causal`.
    """
    mask = mask if mask.ndim == 3 else mask[:, None]
    out = _attend(_group(q, k.shape[1], scale), k, v, mask, soft_cap)
    return _ungroup(out, q.shape[1])


def _attend(q, k, v, seen, soft_cap):
    """`[B, K, T * G, N]` of `q` likewise, `k, v [B, K, S, N]`, `seen [B, T, S]`."""
    scores = _product('bkqn,bksn->bkqs', q, k)
    if soft_cap is not None:
        scores = soft_cap * jnp.tanh(scores / soft_cap)
    bias = jnp.where(seen, 0.0, _HIDDEN).astype(jnp.float32)
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
