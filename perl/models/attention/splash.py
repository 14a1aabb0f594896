"""Splash attention, JAX's fused kernel for TPUs (FlashAttention-2, arXiv 2307.08691).

It has segments of its own, in which a token sees those of the same number. Ours have
one that all others see too, so a block of queries gets a mask; the kernel skips its
empty tiles, and reads none where a tile is full.
"""

import functools

import jax
import jax.numpy as jnp

from perl.models.attention.kernel import Kernel, Target
from perl.models.attention.padding import padded

_KEPT = 'splash'  # the name of what the gradient reads: output and log-sum-exp
_LANES = 128  # of a vector register: lengths are multiples of it
_TILES = (512, 256, 128)  # queries or keys that are multiplied at a time, best first


def refusal(
    target: Target, dtype: jax.typing.DTypeLike, head_width: int, soft_cap: float | None
) -> str | None:
    """Why the kernel cannot do this, in a few words; None where it can. Arguments as
    in `kernel.Kernel`, for arrays of any shape."""
    del soft_cap, head_width
    if target.platform != 'tpu':
        return f'splash needs a TPU, and this program is for {target.kind}'
    if jnp.dtype(dtype).name == 'float16':
        return 'splash computes in bfloat16 or float32, not in float16'
    return None


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array | None,
    scale: float | None,
    soft_cap: float | None,
    interpret: bool = False,
) -> jax.Array:
    """Attention `[B, T, H, N]`; arguments as in `kernel.Kernel`.

    Args:
        interpret: emulates the kernel, on every platform and slowly.
    """
    # loads Pallas, which takes a second that no other platform needs
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        CausalMask,
        MultiHeadMask,
        make_splash_mha,
    )

    tokens, heads, width = q.shape[1:]
    q = q * (width**-0.5 if scale is None else scale)
    q, k, v = (padded(x, 1, _LANES).swapaxes(1, 2) for x in (q, k, v))
    options = {
        'block_sizes': _tiles(q.shape[2], k.shape[2]),
        'attn_logits_soft_cap': soft_cap,
        'head_shards': 1,
        'q_seq_shards': 1,
        'residual_checkpoint_name': _KEPT,
        'interpret': interpret,
    }

    def row(mask, q, k, v):
        kernel = make_splash_mha(mask[None], **options)  # one mask for all heads
        # JAX makes an array of this flag, which a traced function cannot branch on
        info = kernel.fwd_mask_info._replace(is_dynamic_mask=True)
        kernel.fwd_mask_info = info
        return kernel(q, k, v)

    def rows(mask, q, k, v):
        if mask is None:
            causal = MultiHeadMask([CausalMask((q.shape[2], k.shape[2]))] * heads)
            return jax.vmap(make_splash_mha(causal, **options))(q, k, v)
        if len(mask) == 1:
            return jax.vmap(row, in_axes=(None, 0, 0, 0))(mask[0], q, k, v)
        return jax.vmap(row)(mask, q, k, v)

    if mask is not None:
        mask = padded(padded(mask, 1, _LANES), 2, _LANES)
    return _precise(rows)(mask, q, k, v).swapaxes(1, 2)[:, :tokens]


def _precise(rows):
    """`rows(mask, q, k, v)` with the precision of float32 products that is set now. JAX
    traces the gradient of a kernel later, when another one may be set; and it would
    split the numbers of bfloat16 too, which gains nothing."""
    float32 = jax.config.jax_default_matmul_precision

    def setting(q):
        half = q.dtype != jnp.float32
        return jax.default_matmul_precision('default' if half else float32)

    @jax.custom_vjp
    def run(mask, q, k, v):
        with setting(q):
            return rows(mask, q, k, v)

    def forward(mask, q, k, v):
        with setting(q):
            return jax.vjp(functools.partial(rows, mask), q, k, v)

    def backward(gradient, change):
        with setting(change):
            return None, *gradient(change)

    run.defvjp(forward, backward)
    return run


def _tiles(queries, keys):
    """The largest tiles that the lengths are multiples of, of all three kernels."""
    from jax.experimental.pallas.ops.tpu.splash_attention import BlockSizes

    q, kv = (next(x for x in _TILES if n % x == 0) for n in (queries, keys))
    return BlockSizes(
        block_q=q, block_kv=kv, block_kv_compute=kv,
        block_q_dkv=q, block_kv_dkv=kv, block_kv_dkv_compute=kv,
        block_q_dq=q, block_kv_dq=kv,
    )  # fmt: skip


KERNEL = Kernel(
    'tpu', 2048, refusal, attend, jax.checkpoint_policies.save_only_these_names(_KEPT)
)
