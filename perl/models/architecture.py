"""The parameters that follow from the numbers of a decoder."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from perl.models.description import Architecture
from perl.models.field_types import DTYPES
from perl.weights import Leaf, is_leaf

__all__ = ['DTYPES', 'Architecture', 'init', 'parameters', 'with_precision']


def with_precision(function: Callable) -> Callable:
    """Makes the matrix products of `function(arch, ...)` those of `arch.precision`.

    The setting holds while the function is traced, and the products keep it, in their
    gradients too. No setting of the process changes.
    """

    @functools.wraps(function)
    def run(arch: Architecture, *args: Any, **options: Any) -> Any:
        with jax.default_matmul_precision(arch.precision):
            return function(arch, *args, **options)

    return run


def parameters(arch: Architecture) -> dict[str, Any]:
    """Every parameter of the decoder, declared once.

    Initial values, shardings, adapter shapes and memory tables derive from this tree.
    """
    D, V, std = arch.width, arch.vocabulary, arch.width**-0.5
    tree = {'embed': Leaf((V, D), ('vocab', 'embed'), 1, std)}
    if arch.positions == 'learned':
        tree['positions'] = Leaf((arch.max_length, D), (None, 'embed'), 1, std)
    parts = {'attention': _attention(arch), 'mlp': _mlp(arch)}
    tree['layers'] = {
        part: {name: _stacked(arch, leaf) for name, leaf in leaves.items()}
        for part, leaves in parts.items()
    }
    tree |= _norm(arch, 'norm', (D,), ('norm',))
    if not arch.tied:
        tree['unembed'] = Leaf((D, V), ('embed', 'vocab'), 1, std)
    return tree


def _stacked(arch, leaf):
    """The leaf of one layer as that of all layers."""
    return Leaf((arch.layers, *leaf.shape), ('layers', *leaf.axes), *leaf[2:])


def _attention(arch):
    """The parameters of attention in one layer. Each kernel keeps the variance of its
    input; what writes into the residual stream is shrunk so that the sum over layers
    stays near 1 (GPT-2)."""
    D, H, K, N = arch.width, arch.heads, arch.kv_heads, arch.head_width
    heads, kv_heads = ('heads', 'head'), ('kv_heads', 'head')
    std, o_std = D**-0.5, (H * N) ** -0.5 / math.sqrt(2 * arch.layers)
    tree = _around(arch) | {
        'q': Leaf((D, H, N), ('embed', *heads), 1, std),
        'k': Leaf((D, K, N), ('embed', *kv_heads), 1, std),
        'v': Leaf((D, K, N), ('embed', *kv_heads), 1, std),
        'o': Leaf((H, N, D), (*heads, 'embed'), 2, o_std),
    }
    if arch.qkv_bias:
        tree |= {
            'q_bias': Leaf((H, N), heads, 0, 0.0),
            'k_bias': Leaf((K, N), kv_heads, 0, 0.0),
            'v_bias': Leaf((K, N), kv_heads, 0, 0.0),
        }
    if arch.o_bias:
        tree['o_bias'] = Leaf((D,), ('norm',), 0, 0.0)
    if arch.qk_norm == 'head':
        tree |= _norm(arch, 'q_norm', (N,), ('head',))
        tree |= _norm(arch, 'k_norm', (N,), ('head',))
    elif arch.qk_norm == 'whole':
        tree |= _norm(arch, 'q_norm', (H, N), heads)
        tree |= _norm(arch, 'k_norm', (K, N), kv_heads)
    return tree


def _mlp(arch):
    """The parameters of the MLP in one layer, as in `_attention`."""
    D, F = arch.width, arch.hidden
    std, down_std = D**-0.5, F**-0.5 / math.sqrt(2 * arch.layers)
    names = ('gate', 'up') if arch.gated else ('up',)
    tree = _around(arch)
    tree |= {name: Leaf((D, F), ('embed', 'hidden'), 1, std) for name in names}
    tree['down'] = Leaf((F, D), ('hidden', 'embed'), 1, down_std)
    if arch.mlp_bias:
        tree |= {f'{name}_bias': Leaf((F,), ('hidden',), 0, 0.0) for name in names}
        tree['down_bias'] = Leaf((D,), ('norm',), 0, 0.0)
    return tree


def _around(arch):
    """The norms before and after attention, or the MLP."""
    tree = {}
    if arch.norm_at in ('before', 'both'):
        tree |= _norm(arch, 'norm', (arch.width,), ('norm',))
    if arch.norm_at in ('after', 'both'):
        tree |= _norm(arch, 'post_norm', (arch.width,), ('norm',))
    return tree


def _norm(arch, name, shape, axes):
    """A norm that changes no scale before it is trained."""
    tree = {name: Leaf(shape, axes, 0, 0.0 if arch.norm == 'rms_offset' else None)}
    if arch.norm == 'layer':
        tree[f'{name}_bias'] = Leaf(shape, axes, 0, 0.0)
    return tree


def init(key: jax.Array, arch: Architecture, dtype: str = 'float32') -> dict[str, Any]:
    """Random parameters of the shapes that `parameters` says; the key is consumed."""
    leaves, structure = jax.tree.flatten(parameters(arch), is_leaf=is_leaf)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        jnp.ones(leaf.shape, dtype)
        if leaf.std is None
        else leaf.std * jax.random.normal(k, leaf.shape, dtype)
        for k, leaf in zip(keys, leaves, strict=True)
    )
