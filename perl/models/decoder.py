"""The decoder in thin Linen: modules read their weights and call `einsum`.

Parameters are plain trees made by `architecture.init`; a module only reads what it is
given, so a bound adapter passes through `scan` and `remat` like any array.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from perl.models import attention
from perl.models.architecture import Architecture, with_precision
from perl.models.block import Block, rms_norm, weight
from perl.models.rotary import rotations
from perl.sharding import constrain
from perl.weights import Weight, einsum, on_base, take


def hidden(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    positions: jax.Array,
    segments: jax.Array | None = None,
    output_slots: jax.Array | None = None,
) -> jax.Array:
    """Final hidden states `[B, T, D]`, in the compute dtype.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        tokens: `[B, T]` int32.
        positions: `[B, T]` int32, rotary position of each token.
        segments: `[B, T]` int32, who sees whom: -1 is padding, 0 is seen by every
            later token of the row, k > 0 by later tokens of the same segment. None
            is plain causal attention.
        output_slots: `[B, E]` int32, the slots whose states are wanted: `[B, E, D]`
            then. None is all of them.
    """
    return forward(
        arch, params, tokens, positions, segments, output_slots=output_slots
    )[0]


@with_precision
def forward(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    positions: jax.Array,
    segments: jax.Array | None,
    cache: Any = None,
    slot: jax.Array | None = None,
    output_slots: jax.Array | None = None,
) -> tuple[jax.Array, Any]:
    """As `hidden`, and the keys and values of each layer.

    Without a cache these are those of the tokens given, `(k, v)` of `[B, K, T, N]`.
    With one, its layers' `(k, v)` of `[B, K, S, N]` with those of the one token per
    row written at `slot`; `segments [B, S]` then tells which slots are seen (>= 0).
    Layers come stacked where the architecture scans, else as a list.
    """
    if not arch.scan:
        params = _by_layer(params)
    return Decoder(arch).apply(
        {'params': params}, tokens, positions, segments, cache, slot, output_slots
    )


@with_precision
def embed(arch: Architecture, table: Weight, tokens: jax.Array) -> jax.Array:
    """What the first block reads, `[B, T, D]` in the compute dtype."""
    # rows are looked up whole: cut as it is stored, the width of the table would
    # compete with the batch for the same devices
    table = on_base(lambda w: constrain(w, 'vocab', None), table)
    return constrain(take(table, tokens).astype(arch.dtype), 'batch', None, None)


@with_precision
def unembed(arch: Architecture, params: Any, states: jax.Array) -> jax.Array:
    """Logits `[B, T, V]` in float32 of hidden states `[B, T, D]`.

    Those of rows without a piece (`arch.pieces`) are minus infinity.
    """
    if arch.tied:
        logits = einsum('btd,vd->btv', states, params['embed'], jnp.float32)
    else:
        logits = einsum('btd,dv->btv', states, params['unembed'], jnp.float32)
    if not arch.padding:
        return logits
    pieces = jnp.arange(arch.vocabulary)[None, None] < arch.pieces
    return jnp.where(pieces, logits, -jnp.inf)


def unrolled(arch: Architecture, params: Any) -> Any:
    """Parameters with the layers cut apart, once, for a loop over many calls.

    It copies them, so a scanned architecture, made for large models, leaves them be.
    """
    if arch.scan:
        return params
    return {**params, 'layers': _layers(params['layers'])}


class Decoder(nn.Module):
    """Embedding, blocks, final norm.

    Of the last block only the slots that are read are computed, beside all keys and
    values. Where layers are scanned, every layer runs the same program: all slots are
    computed, and those that are read are sliced out at the end.
    """

    arch: Architecture

    @nn.compact
    def __call__(self, tokens, positions, segments, cache, slot, output_slots):
        arch = self.arch
        x = embed(arch, weight(self, 'embed'), tokens)
        rope = rotations(arch, positions)
        run = self._scanned if arch.scan else self._unrolled
        x, kv = run(x, cache, rope, segments, slot, output_slots)
        return rms_norm(x, weight(self, 'norm'), arch.norm_eps), kv

    def _block(self):
        arch = self.arch
        return nn.remat(Block, prevent_cse=not arch.scan) if arch.remat else Block

    def _scanned(self, x, cache, rope, segments, slot, output_slots):
        """One program for all layers, whose weights and cache are stacked."""
        layers = nn.scan(
            self._block(),
            variable_axes={'params': 0},
            split_rngs={'params': False},
            in_axes=(nn.broadcast, nn.broadcast, nn.broadcast, 0),
            length=self.arch.layers,
        )(self.arch, name='layers')
        index = None if cache is None else jnp.arange(self.arch.layers)
        (x, written), kv = layers((x, cache), rope, segments, slot, index)
        x = x if output_slots is None else attention.at(x, output_slots)
        return x, kv if cache is None else written

    def _unrolled(self, x, cache, rope, segments, slot, output_slots):
        """A program of its own for each layer; weights and caches are lists."""
        kv, last = [], self.arch.layers - 1
        for i in range(self.arch.layers):
            layer = self._block()(self.arch, name=_layer(i))
            carry, slots = (x, cache and cache[i]), output_slots if i == last else None
            (x, written), new = layer(carry, rope, segments, slot, None, slots)
            kv.append(new if cache is None else written)
        return x, kv


def _by_layer(params):
    """Parameters as the unrolled decoder reads them: each layer by a name of its own.
    The gradients of stacked layers are joined in one pass."""
    params = dict(params)
    layers = _layers(params.pop('layers'))
    return params | {_layer(i): weights for i, weights in enumerate(layers)}


def _layers(layers):
    """The stacked layers apart, as a list."""
    if isinstance(layers, list):
        return layers
    leaves, structure = jax.tree.flatten(layers)
    by_layer = zip(*map(jnp.unstack, leaves), strict=True)
    return [structure.unflatten(weights) for weights in by_layer]


def _layer(number):
    """The name of a layer of the unrolled decoder."""
    return f'layers_{number}'
