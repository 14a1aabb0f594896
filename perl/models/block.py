"""One layer of the decoder: attention and MLP as thin Linen modules.

A module only reads the weights that it is given, and calls `einsum` on them, so a bound
adapter passes through `scan` and `remat` like any array.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from perl.models import attention
from perl.models.architecture import Architecture
from perl.models.rotary import rotate
from perl.sharding import constrain
from perl.weights import Weight, einsum


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
        x = rms_norm(x, weight(self, 'norm'), arch.norm_eps)
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
            slots = cache if layer is None else [c[layer] for c in cache]
            out, kv = attention.cached(q, *slots, segments >= 0), None
        return einsum('bthn,hnd->btd', out, weight(self, 'o')), cache, kv

    def _project(self, eqn, x, name):
        """Queries, keys or values `[B, T, heads, N]`, with their bias if any."""
        y = einsum(eqn, x, weight(self, name))
        if not self.arch.qkv_bias:
            return y
        return y + weight(self, f'{name}_bias').astype(y.dtype)[None, None]


class Mlp(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    arch: Architecture

    @nn.compact
    def __call__(self, x):
        x = rms_norm(x, weight(self, 'norm'), self.arch.norm_eps)
        gate = einsum('btd,df->btf', x, weight(self, 'gate'))
        up = einsum('btd,df->btf', x, weight(self, 'up'))
        return einsum('btf,fd->btd', nn.silu(gate) * up, weight(self, 'down'))


def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
    """RMSNorm (arXiv 1910.07467) of `x [..., D]` by `weight [D]`, in float32."""
    y = x.astype(jnp.float32)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + eps)
    weight = jnp.expand_dims(weight.astype(jnp.float32), range(x.ndim - 1))
    return (y * weight).astype(x.dtype)


def weight(module: nn.Module, name: str) -> Weight:
    """The leaf of that name, of whatever kind; never creates one."""
    if not module.has_variable('params', name):
        path = '/'.join((*module.path, name))
        raise KeyError(f'the parameter tree has no {path}')
    return module.get_variable('params', name)


def _write(cache, new, slot, layer):
    """The cache, of one layer or stacked, with new keys or values in their slot: in
    place, since a loop carries it."""
    if layer is None:
        return jax.lax.dynamic_update_slice_in_dim(cache, new, slot, axis=2)
    at = (layer, 0, 0, slot, 0)
    return jax.lax.dynamic_update_slice(cache, new[None], at)
