"""Rows in the blocks of queries that a fused kernel is given, on a mesh or without."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from perl import sharding
from perl.models.attention.kernel import Kernel
from perl.models.attention.visible import Slots, allowed


def causal(
    kernel: Kernel,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    rows: Slots,
    window: int | jax.Array | None,
    *,
    scale: float | None,
    soft_cap: float | None,
) -> jax.Array:
    """Self-attention `[B, T, H, N]` of rows to their own past.

    Rows of one segment without a window are causal, which the kernel knows by itself.
    All others get a mask, a block of queries at a time and for the keys up to its end:
    it needs memory in proportion to the length, not to its square. A compiler
    partitions no kernel, so on a mesh every device is told its rows and heads.

    Args:
        kernel: the implementation.
        q: `[B, T, H, N]`.
        k, v: `[B, T, K, N]`, H a multiple of K.
        rows: their slots.
        window, scale, soft_cap: as in `attention.causal`.
    """

    def block(start, stop, q, k, v, rows, window):
        queries, keys = rows.cut(start, stop), rows.cut(0, stop)
        # padding sees itself, for a softmax of nothing is not a number
        own = queries.slots[..., None] == keys.slots[:, None]
        mask = allowed(queries, keys, window) | own
        seen = k[:, :stop], v[:, :stop], mask
        return kernel.attend(q[:, start:stop], *seen, scale, soft_cap)

    def local(q, k, v, rows, window):
        if rows.segments is None and window is None:
            return kernel.attend(q, k, v, None, scale, soft_cap)
        outputs, tokens = [], q.shape[1]
        for start in range(0, tokens, kernel.block):
            run = functools.partial(block, start, min(start + kernel.block, tokens))
            # the masks of all blocks are as large as the square of the length
            run = jax.checkpoint(run, policy=kernel.kept)
            outputs.append(run(q, k, v, rows, window))
        return jnp.concatenate(outputs, axis=1)

    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return local(q, k, v, rows, window)
    if k.shape[2] % mesh.shape[sharding.RULES['kv_heads']]:
        k, v = (jnp.repeat(x, q.shape[2] // x.shape[2], axis=2) for x in (k, v))
    heads = [sharding.spec(_HEADS, x.shape, mesh) for x in (q, k, v)]
    arguments = q, k, v, rows, window
    specs = (*heads, *(jax.tree.map(_spec(mesh), x) for x in (rows, window)))
    return jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=heads[0], check_vma=False
    )(*arguments)


_HEADS = ('batch', None, 'heads', None)


def _spec(mesh) -> Any:
    """The partition of what is known of the rows: an array of them, or a number."""

    def of(x):
        if jnp.ndim(x) == 0:
            return PartitionSpec()
        return sharding.spec(('batch', None), x.shape, mesh)

    return of
