"""The decoder in thin Linen: modules read their weights and call `einsum`.

Parameters are plain trees made by `architecture.init`; a module only reads what it is
given, so a bound adapter passes through `scan` and `remat` like any array.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from perl.models import attention
from perl.models.architecture import Architecture
from perl.sharding import constrain
from perl.weights import einsum, take


def hidden(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    positions: jax.Array,
    segments: jax.Array | None = None,
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
    """
    return forward(arch, params, tokens, positions, segments)[0]


def forward(
    arch: Architecture,
    params: Any,
    tokens: jax.Array,
    positions: jax.Array,
    segments: jax.Array | None,
    cache: Any = None,
    slot: jax.Array | None = None,
) -> tuple[jax.Array, Any]:
    """As `hidden`, and the keys and values of each layer.

    Without a cache these are those of the tokens given, `(k, v)` of `[B, K, T, N]`.
    With one, its layers' `(k, v)` of `[B, K, S, N]` with those of the one token per
    row written at `slot`; `segments [B, S]` then tells which slots are seen (>= 0).
    Layers come stacked where the architecture scans, else as a list.
    """
    return Decoder(arch).apply(
        {'params': params}, tokens, positions, segments, cache, slot
    )


def unembed(arch: Architecture, params: Any, states: jax.Array) -> jax.Array:
    """Logits `[..., V]` in float32 of hidden states `[B, T, D]`."""
    if arch.tied:
        return einsum('btd,vd->btv', states, params['embed'], jnp.float32)
    return einsum('btd,dv->btv', states, params['unembed'], jnp.float32)


class Decoder(nn.Module):
    """Embedding, blocks, final norm."""

    arch: Architecture

    @nn.compact
    def __call__(self, tokens, positions, segments, cache, slot):
        arch = self.arch
        x = take(_weight(self, 'embed'), tokens).astype(arch.dtype)
        x = constrain(x, 'batch', None, None)
        turn = rotations(arch, positions)
        block = nn.remat(Block, prevent_cse=not arch.scan) if arch.remat else Block
        if arch.scan:
            layers = nn.scan(
                block,
                variable_axes={'params': 0},
                split_rngs={'params': False},
                in_axes=(nn.broadcast, nn.broadcast, nn.broadcast, 0),
                length=arch.layers,
            )(arch, name='layers')
            x, kv = layers(x, turn, segments, slot, cache)
        else:
            layers, kv = _weight(self, 'layers'), []
            for i in range(arch.layers):
                params = jax.tree.map(lambda w, i=i: w[i], layers)
                x, made = block(arch, parent=None).apply(
                    {'params': params}, x, turn, segments, slot, cache and cache[i]
                )
                kv.append(made)
        return rms_norm(x, _weight(self, 'norm'), arch.norm_eps), kv


class Block(nn.Module):
    """Attention and MLP, each on the normed residual stream."""

    arch: Architecture

    @nn.compact
    def __call__(self, x, turn, segments, slot, cache):
        y, kv = Attention(self.arch, name='attention')(x, turn, segments, slot, cache)
        x = x + y
        x = x + Mlp(self.arch, name='mlp')(x)
        return constrain(x, 'batch', None, None), kv


class Attention(nn.Module):
    """Grouped-query attention; returns its keys and values too."""

    arch: Architecture

    @nn.compact
    def __call__(self, x, turn, segments, slot, cache):
        arch = self.arch
        x = rms_norm(x, _weight(self, 'norm'), arch.norm_eps)
        q = rotate(arch, einsum('btd,dhn->bthn', x, _weight(self, 'q')), turn)
        k = rotate(arch, einsum('btd,dkn->btkn', x, _weight(self, 'k')), turn)
        v = einsum('btd,dkn->btkn', x, _weight(self, 'v'))
        kv = k.swapaxes(1, 2), v.swapaxes(1, 2)
        if cache is None:
            out = attention.causal(q, k, v, segments)
        else:
            kv = tuple(
                jax.lax.dynamic_update_slice_in_dim(old, new, slot, axis=2)
                for old, new in zip(cache, kv, strict=True)
            )
            out = attention.cached(q, *kv, segments >= 0)
        return einsum('bthn,hnd->btd', out, _weight(self, 'o')), kv


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
    """RMSNorm (arXiv 1910.07467) over the last axis, computed in float32."""
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + eps)
    return (y * weight.astype(jnp.float32)).astype(x.dtype)


def rotations(arch: Architecture, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines `[B, T, 1, N/2]` float32 of rotary positions `[B, T]`."""
    half = jnp.arange(0, arch.head_width, 2, dtype=jnp.float32) / arch.head_width
    angles = positions[..., None, None].astype(jnp.float32) * arch.rope_theta**-half
    return jnp.cos(angles), jnp.sin(angles)


def rotate(arch: Architecture, x: jax.Array, turn) -> jax.Array:
    """Rotary position embedding (arXiv 2104.09864) of `x [B, T, H, N]`."""
    cos, sin = turn
    if arch.rope_layout == 'pairs':
        first, second = x[..., ::2], x[..., 1::2]
    else:
        first, second = jnp.split(x, 2, axis=-1)
    turned = first * cos - second * sin, second * cos + first * sin
    if arch.rope_layout == 'pairs':
        return jnp.stack(turned, axis=-1).reshape(x.shape).astype(x.dtype)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def _weight(module: nn.Module, name: str):
    """The leaf of that name, of whatever kind; never creates one."""
    if not module.has_variable('params', name):
        path = '/'.join((*module.path, name))
        raise KeyError(f'the parameter tree has no {path}')
    return module.get_variable('params', name)
