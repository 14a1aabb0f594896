"""The MLP of a layer: two projections with an activation between, gated or not."""

from typing import Any

import jax

from perl.models import norms
from perl.models.description import Architecture
from perl.models.projections import projected

_ACTIVATIONS = {
    'silu': jax.nn.silu,
    'gelu': lambda x: jax.nn.gelu(x, approximate=False),
    'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
    'relu': jax.nn.relu,
}


def mlp(arch: Architecture, weights: Any, x: jax.Array) -> jax.Array:
    """What the MLP adds to the residual stream `x [B, T, D]`, of the same shape.

    A gated one is SwiGLU or GeGLU (arXiv 2002.05202).

    Args:
        arch: says which activation, and whether there is a gate.
        weights: of the layer, bound or plain.
        x: the residual stream.
    """
    x = norms.before(arch, x, weights, 'mlp')
    act = _ACTIVATIONS[arch.activation]
    if arch.gated:
        gate = projected('btd,df->btf', x, weights, 'mlp/gate')
        inner = act(gate) * projected('btd,df->btf', x, weights, 'mlp/up')
    else:
        inner = act(projected('btd,df->btf', x, weights, 'mlp/up'))
    y = projected('btf,fd->btd', inner, weights, 'mlp/down')
    return norms.after(arch, y, weights, 'mlp')
