"""cuDNN's fused attention, on NVIDIA GPUs (FlashAttention-2, arXiv 2307.08691).

cuDNN has arguments for causal rows and for padding on the right. Our segments are
more than that, so a block of queries gets a mask, to cuDNN a bias of `[B, 1, T, S]`.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp

from perl.models.attention.kernel import Kernel, Target
from perl.models.attention.padding import padded

_HALF = ('bfloat16', 'float16')
_HOPPER = re.compile(r'\bG?H\d+')  # H100, H200, GH200
_MULTIPLE = 2  # of lengths, for the gradient


def refusal(
    target: Target, dtype: jax.typing.DTypeLike, head_width: int, soft_cap: float | None
) -> str | None:
    """Why cuDNN cannot do this, in a few words; None where it can. Arguments as in
    `kernel.Kernel`, for arrays of any shape."""
    if target.platform != 'gpu' or 'NVIDIA' not in target.kind:
        return f'cuDNN needs an NVIDIA GPU, and this program is for {target.kind}'
    if target.capability and float(target.capability) < 8:
        return f'cuDNN needs compute capability 8.0, this GPU has {target.capability}'
    if jnp.dtype(dtype).name not in _HALF:
        return f'cuDNN computes in {" or ".join(_HALF)}, not in {jnp.dtype(dtype).name}'
    if soft_cap is not None:
        return 'cuDNN has no soft cap of scores'
    widest = 256 if _HOPPER.search(target.kind) else 128
    if head_width % 8 or head_width > widest:
        return (
            f'cuDNN takes heads whose width is a multiple of 8 up to {widest} on '
            f'{target.kind}, not {head_width}'
        )
    return None


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array | None,
    scale: float | None,
    soft_cap: float | None,
    implementation: str = 'cudnn',
) -> jax.Array:
    """Attention `[B, T, H, N]`; arguments as in `kernel.Kernel`.

    Args:
        implementation: of `jax.nn.dot_product_attention`, which gives the same numbers
            on every platform with `xla`.
    """
    del soft_cap  # refused
    tokens = q.shape[1]
    q, k, v = padded(q, 1, _MULTIPLE), padded(k, 1, _MULTIPLE), padded(v, 1, _MULTIPLE)
    if mask is not None:
        mask = padded(padded(mask, 1, _MULTIPLE), 2, _MULTIPLE)
        mask = jnp.broadcast_to(mask, (len(q), *mask.shape[1:]))[:, None]
    out = jax.nn.dot_product_attention(
        q, k, v,
        mask=mask,
        scale=scale,
        is_causal=mask is None,
        implementation=implementation,
    )  # fmt: skip
    return out[:, :tokens]


def kept(primitive: Any, *_: Any, **__: Any) -> bool:
    """Whether the gradient keeps what this primitive of JAX returned."""
    return primitive.name == 'dot_product_attention_fwd_wrapper'


KERNEL = Kernel('gpu', 512, refusal, attend, kept)
