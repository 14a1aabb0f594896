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
    values, unless the layers are scanned: those are alike, and what is read is cut out.
    """

    arch: Architecture

    @nn.compact
    def __call__(self, tokens, positions, segments, cache, slot, output_slots):
        arch = self.arch
        x = embed(arch, _weight(self, 'embed'), tokens)
        rope = rotations(arch, positions)
        block = nn.remat(Block, prevent_cse=not arch.scan) if arch.remat else Block
        if arch.scan:
            layers = nn.scan(
                block,
                variable_axes={'params': 0},
                split_rngs={'params': False},
                in_axes=(nn.broadcast, nn.broadcast, nn.broadcast, 0),
                length=arch.layers,
            )(arch, name='layers')
            index = None if cache is None else jnp.arange(arch.layers)
            (x, cache), kv = layers((x, cache), rope, segments, slot, index)
            x = x if output_slots is None else attention.at(x, output_slots)
        else:
            layers, kv = _layers(_weight(self, 'layers')), []
            for i, own in enumerate(layers):
                wanted = output_slots if i == len(layers) - 1 else None
                carry = x, cache and cache[i]
                (x, seen), made = block(arch, parent=None).apply(
                    {'params': own}, carry, rope, segments, slot, None, wanted
                )
                kv.append(made if cache is None else seen)
        if arch.scan and cache is not None:
            kv = cache
        return rms_norm(x, _weight(self, 'norm'), arch.norm_eps), kv


class Block(nn.Module):
    """Attention and MLP, each on the normed residual stream.

    The carry is `(x, cache)`; without a cache the block's keys and values come out.
    """

    arch: Architecture

    @nn.compact
    def __call__(self, carry, rope, segments, slot, layer, output_slots=None):
        x, cache = carry
        attend = Attention(self.arch, name='attention')
        y, cache, kv = attend(x, cache, rope, segments, slot, layer, output_slots)
        x = y + (x if output_slots is None else attention.at(x, output_slots))
        x = x + Mlp(self.arch, name='mlp')(x)
        return (constrain(x, 'batch', None, None), cache), kv


class Attention(nn.Module):
    """Grouped-query attention, to the row itself or to a cache."""

    arch: Architecture

    @nn.compact
    def __call__(self, x, cache, rope, segments, slot, layer, output_slots):
        arch = self.arch
        x = rms_norm(x, _weight(self, 'norm'), arch.norm_eps)
        query_inputs, query_rope = x, rope
        if output_slots is not None:
            query_inputs, query_rope = attention.at((x, rope), output_slots)
        q = self._project('btd,dhn->bthn', query_inputs, 'q')
        k = self._project('btd,dkn->btkn', x, 'k')
        v = self._project('btd,dkn->btkn', x, 'v')
        q, k = rotate(arch, q, query_rope), rotate(arch, k, rope)
        kv = k.swapaxes(1, 2), v.swapaxes(1, 2)
        if cache is None:
            out = attention.causal(q, k, v, segments, output_slots)
        else:
            cache = tuple(
                _write(c, new, slot, layer) for c, new in zip(cache, kv, strict=True)
            )
            own = cache if layer is None else [c[layer] for c in cache]
            out, kv = attention.cached(q, *own, segments >= 0), None
        return einsum('bthn,hnd->btd', out, _weight(self, 'o')), cache, kv

    def _project(self, eqn, x, name):
        """Queries, keys or values `[B, T, heads, N]`, with their bias if any."""
        y = einsum(eqn, x, _weight(self, name))
        if not self.arch.qkv_bias:
            return y
        return y + _weight(self, f'{name}_bias').astype(y.dtype)


class Mlp(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    arch: Architecture

    @nn.compact
    def __call__(self, x):
        x = rms_norm(x, _weight(self, 'norm'), self.arch.norm_eps)
        gate = einsum('btd,df->btf', x, _weight(self, 'gate'))
        up = einsum('btd,df->btf', x, _weight(self, 'up'))
        return einsum('btf,fd->btd', nn.silu(gate) * up, _weight(self, 'down'))


def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
    """RMSNorm (arXiv 1910.07467) of `x [..., D]` by `weight [D]`, in float32."""
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + eps)
    weight = jnp.expand_dims(weight.astype(jnp.float32), range(x.ndim - 1))
    return (y * weight).astype(x.dtype)


def rotations(arch: Architecture, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and signed sines, float32, of rotary positions `[B, T]`.

    They broadcast against `[B, T, H, 2, N/2]`, or `[B, T, H, N/2, 2]` for pairs: the
    axis of two holds the components that turn together.
    """
    axis = _turned(arch)
    half = jnp.arange(0, arch.head_width, 2, dtype=jnp.float32) / arch.head_width
    frequencies = jnp.float32(arch.rope_theta) ** -half  # [N/2]
    angles = positions[..., None].astype(jnp.float32) * frequencies[None, None]
    angles = angles[:, :, None]  # for every head
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.stack([cos, cos], axis), jnp.stack([-sin, sin], axis)


def rotate(arch: Architecture, x: jax.Array, rope) -> jax.Array:
    """Rotary position embedding (arXiv 2104.09864) of `x [B, T, H, N]`.

    Written with a flip of two components rather than by cutting and joining them: one
    pass over `x` on CPU, forward and backward.
    """
    cos, sin = rope
    shape = (2, -1) if arch.rope_layout == 'halves' else (-1, 2)
    parts = x.reshape(*x.shape[:-1], *shape)
    turned = parts * cos + jnp.flip(parts, _turned(arch)) * sin
    return turned.astype(x.dtype).reshape(x.shape)


def _turned(arch):
    return -2 if arch.rope_layout == 'halves' else -1


def _write(cache, new, slot, layer):
    """The cache, of one layer or stacked, with new keys or values in their slot: in
    place, since a loop carries it."""
    if layer is None:
        return jax.lax.dynamic_update_slice_in_dim(cache, new, slot, axis=2)
    at = (layer, 0, 0, slot, 0)
    return jax.lax.dynamic_update_slice(cache, new[None], at)


def _layers(layers):
    """The stacked layers apart; their gradients are joined in one pass."""
    if isinstance(layers, list):
        return layers
    cut, structure = jax.tree.flatten(layers)
    cut = zip(*map(jnp.unstack, cut), strict=True)
    return [structure.unflatten(own) for own in cut]


def _weight(module: nn.Module, name: str):
    """The leaf of that name, of whatever kind; never creates one."""
    if not module.has_variable('params', name):
        path = '/'.join((*module.path, name))
        raise KeyError(f'the parameter tree has no {path}')
    return module.get_variable('params', name)
