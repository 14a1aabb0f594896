"""Attention of a layer: from the residual stream to what is added to it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from perl.models import attention, norms
from perl.models.description import Architecture
from perl.models.layer_kinds import Kind
from perl.models.projections import projected
from perl.models.rotary import Rope, both_rotations, rope_of, rotate

Cache = tuple[jax.Array, jax.Array]  # keys and values


class Rows(NamedTuple):
    """What all layers know of the rows.

    Attributes:
        positions: `[B, T]` int32.
        ropes: their rotations, of layers without and with a window.
        segments: `[B, T]` int32, who sees whom; with a cache `[B, S]`, which of its
            slots are seen.
        slot: scalar int32, where a cache gets the keys and values.
    """

    positions: jax.Array
    ropes: tuple[Rope | None, Rope | None]
    segments: jax.Array | None
    slot: jax.Array | None


def describe(
    arch: Architecture,
    positions: jax.Array,
    segments: jax.Array | None = None,
    slot: jax.Array | None = None,
) -> Rows:
    """Rows of positions `[B, T]`, with the rotations that the decoder needs."""
    return Rows(positions, both_rotations(arch, positions), segments, slot)


def attend(
    arch: Architecture,
    weights: Any,
    x: jax.Array,
    rows: Rows,
    kind: Kind,
    cache: Cache | None = None,
    layer: jax.Array | None = None,
    output_slots: jax.Array | None = None,
) -> tuple[jax.Array, Cache | None, Cache | None]:
    """Grouped-query attention, to the row itself or to a cache.

    Args:
        arch: the decoder.
        weights: of the layer, bound or plain.
        x: the residual stream `[B, T, D]`.
        rows: what they are.
        kind: of the layer.
        cache: keys and values `[B, K, S, N]`, `[L, B, K, S, N]` with a `layer`.
        layer: scalar int32, which part of a stacked cache is that of the layer.
        output_slots: `[B, E]` int32, the slots whose output is wanted.

    Returns:
        What is added to the residual stream, `[B, T, D]` or `[B, E, D]`; the cache with
        the new keys and values; and these, `[B, K, T, N]`, where there is no cache.
    """
    x, rope = norms.before(arch, x, weights, 'attention'), rope_of(rows.ropes, kind)
    inputs, input_rope = x, rope
    if output_slots is not None:
        inputs, input_rope = attention.at((x, rope), output_slots)
    q = projected('btd,dhn->bthn', inputs, weights, 'attention/q')
    k = projected('btd,dkn->btkn', x, weights, 'attention/k')
    v = projected('btd,dkn->btkn', x, weights, 'attention/v')
    if arch.qk_norm != 'none':
        q = norms.normed(arch, q, weights, 'attention/q_norm')
        k = norms.normed(arch, k, weights, 'attention/k_norm')
    content = q
    q, k = rotate(arch, q, input_rope), rotate(arch, k, rope)
    kv = k.swapaxes(1, 2), v.swapaxes(1, 2)
    scores = {
        'scale': arch.query_scalar**-0.5 if arch.query_scalar else None,
        'soft_cap': arch.attention_cap or None,
    }
    if cache is None:
        out = attention.causal(
            q, k, v, rows.segments, output_slots,
            window=kind.window, positions=rows.positions,
            implementation=arch.attention, **scores,
        )  # fmt: skip
    else:
        cache = tuple(
            _write(c, new, rows.slot, layer) for c, new in zip(cache, kv, strict=True)
        )
        own = cache if layer is None else [c[layer] for c in cache]
        out, kv = attention.cached(q, *own, _seen(rows, kind), **scores), None
    if 'prefix' in weights['attention']:  # trained slots, which are optional
        out = out + weights['attention']['prefix'].attend(content)
    y = projected('bthn,hnd->btd', out, weights, 'attention/o')
    return norms.after(arch, y, weights, 'attention'), cache, kv


def _seen(rows, kind):
    """Which slots of the cache are seen, `[B, S]`: text and its padding are in their
    order there, around the end of the cache, so a window counts slots."""
    seen = rows.segments >= 0
    if kind.window is None:
        return seen
    slots = seen.shape[1]
    near = (rows.slot - jnp.arange(slots)) % slots < kind.window
    return seen & near[None]


def _write(cache, new, slot, layer):
    """The cache, of one layer or stacked, with new keys or values in their slot: in
    place, since a loop carries it."""
    if layer is None:
        return jax.lax.dynamic_update_slice_in_dim(cache, new, slot, axis=2)
    at = (layer, 0, 0, slot, 0)
    return jax.lax.dynamic_update_slice(cache, new[None], at)
