"""The decoder: pure functions of its numbers and its parameters.

Parameters are plain trees made by `architecture.init`; a function only reads what it is
given, so a bound adapter passes through `scan` and `checkpoint` like any array.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.models import attention, norms
from perl.models.architecture import Architecture, with_precision
from perl.models.block import block
from perl.models.gathered import gathered_layer, whole
from perl.models.layer_kinds import kind_of, kinds
from perl.models.self_attention import describe
from perl.sharding import constrain
from perl.weights import einsum, find, on_arrays, take


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
        positions: `[B, T]` int32, the position of each token.
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
    x = read(arch, params, tokens, positions)
    rows = describe(arch, positions, segments, slot)
    run = _scanned if arch.scan else _unrolled
    x, kv = run(arch, find(params, 'layers'), x, rows, cache, output_slots)
    return norms.normed(arch, x, params, 'norm'), kv


@with_precision
def read(
    arch: Architecture, params: Any, tokens: jax.Array, positions: jax.Array
) -> jax.Array:
    """The input of the first block, `[B, T, D]` in the compute dtype.

    Args:
        arch: the decoder.
        params: its parameters, bound or plain.
        tokens: `[B, T]` int32.
        positions: `[B, T]` int32, looked up where they are learned.
    """
    x = _rows(arch, find(params, 'embed'), tokens, ('vocab', 'embed'))
    if arch.embed_scale != 1:
        x = x * jnp.asarray(arch.embed_scale, x.dtype)
    if arch.positions == 'learned':
        x = x + _rows(arch, find(params, 'positions'), positions, (None, 'embed'))
    return constrain(x, 'batch', None, None)


@with_precision
def unembed(arch: Architecture, params: Any, states: jax.Array) -> jax.Array:
    """Logits `[B, T, V]` in float32 of hidden states `[B, T, D]`.

    Those of rows without a piece (`arch.pieces`, `arch.holes`) are minus infinity.
    """
    if arch.tied:
        logits = einsum('btd,vd->btv', states, params['embed'], jnp.float32)
    else:
        logits = einsum('btd,dv->btv', states, params['unembed'], jnp.float32)
    if arch.logit_cap:
        logits = arch.logit_cap * jnp.tanh(logits / arch.logit_cap)
    if not arch.padding:
        return logits
    pieces = np.arange(arch.vocabulary) < (arch.pieces or arch.vocabulary)
    pieces[list(arch.holes)] = False
    return jnp.where(pieces[None, None], logits, -jnp.inf)


def unrolled(arch: Architecture, params: Any) -> Any:
    """Parameters with the layers cut apart, once, for a loop over many calls.

    It copies them, so a scanned architecture, made for large models, leaves them be.
    """
    if arch.scan:
        return params
    return {**params, 'layers': _layers(params['layers'])}


def _rows(arch, table, ids, axes):
    """Rows `[B, T, D]` of a table, which are looked up whole: cut as it is stored, its
    width would compete with the batch for the same devices."""
    return take(on_arrays(whole, table, axes), ids).astype(arch.dtype)


def _scanned(arch, layers, x, rows, cache, output_slots):
    """One program for all layers, whose weights and cache are stacked. Every layer
    computes all slots, and those that are read are sliced out at the end."""

    def step(carry, layer):
        weights, kind, index = layer
        weights = gathered_layer(arch, weights)
        x, cache, kv = block(arch, weights, carry[0], rows, kind, carry[1], index)
        return (x, cache), kv

    step = jax.checkpoint(step, prevent_cse=False) if arch.remat else step
    index = None if cache is None else jnp.arange(arch.layers)
    (x, written), kv = jax.lax.scan(step, (x, cache), (layers, kinds(arch), index))
    x = x if output_slots is None else attention.at(x, output_slots)
    return x, kv if cache is None else written


def _unrolled(arch, layers, x, rows, cache, output_slots):
    """A program of its own for each layer; weights and caches are lists. In the last
    layer only the requested slots are computed, beside all keys and values."""
    kv, last = [], arch.layers - 1
    for i, weights in enumerate(_layers(layers)):
        slots = output_slots if i == last else None
        run = functools.partial(_layer, arch, kind_of(arch, i))
        run = jax.checkpoint(run) if arch.remat else run
        x, written, new = run(weights, x, rows, cache and cache[i], slots)
        kv.append(new if cache is None else written)
    return x, kv


def _layer(arch, kind, weights, x, rows, cache, slots):
    weights = gathered_layer(arch, weights)
    return block(arch, weights, x, rows, kind, cache, None, slots)


def _layers(layers):
    """The stacked layers apart, as a list; their gradients are joined in one pass."""
    if isinstance(layers, list):
        return layers
    leaves, structure = jax.tree.flatten(layers)
    by_layer = zip(*map(jnp.unstack, leaves), strict=True)
    return [structure.unflatten(weights) for weights in by_layer]
