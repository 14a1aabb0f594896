"""One layer of the decoder: attention and MLP on the residual stream.

It only reads the weights that it is given, and calls `einsum` on them, so a bound
adapter passes through `scan` and `checkpoint` like any array.
"""

from typing import Any

import jax

from perl.models import attention
from perl.models.description import Architecture
from perl.models.layer_kinds import Kind
from perl.models.mlp import mlp
from perl.models.self_attention import Cache, Rows, attend
from perl.sharding import constrain


def block(
    arch: Architecture,
    weights: Any,
    x: jax.Array,
    rows: Rows,
    kind: Kind,
    cache: Cache | None = None,
    layer: jax.Array | None = None,
    output_slots: jax.Array | None = None,
) -> tuple[jax.Array, Cache | None, Cache | None]:
    """The residual stream after a layer; arguments and the rest of the result as in
    `self_attention.attend`, for `x [B, T, D]`."""
    y, cache, kv = attend(arch, weights, x, rows, kind, cache, layer, output_slots)
    x = x if output_slots is None else attention.at(x, output_slots)
    if arch.parallel:
        x = y + x + mlp(arch, weights, x)
    else:
        x = y + x
        x = x + mlp(arch, weights, x)
    return constrain(x, 'batch', None, None), cache, kv
