"""What a fused kernel is to the rest of the package."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Target(NamedTuple):
    """What a program is compiled for.

    Attributes:
        platform: JAX's word for it: `cpu`, `gpu` or `tpu`.
        kind: JAX's name of the device, such as `NVIDIA H100 80GB HBM3`.
        capability: the compute capability of an NVIDIA GPU that is there, such as
            `9.0`; empty where the program is compiled ahead of time.
    """

    platform: str
    kind: str
    capability: str = ''


class Kernel(NamedTuple):
    """A fused kernel: it computes attention without the scores of a row in memory.

    Attributes:
        platform: which it was made for.
        block: how many queries it is given at a time where it needs a mask.
        refusal: `(target, dtype, head_width, soft_cap)` to why it cannot do that in a
            few words, None where it can.
        attend: `(q, k, v, mask, scale, soft_cap)` to `[B, T, H, N]`, for
            `q [B, T, H, N]`, `k, v [B, S, K, N]` and `mask` bool `[B or 1, T, S]`, in
            which every query sees a key. None is a causal mask, with T = S.
        kept: the policy of `jax.checkpoint` that keeps what the kernel's gradient
            reads, and no mask.
    """

    platform: str
    block: int
    refusal: Callable[[Target, jax.typing.DTypeLike, int, float | None], str | None]
    attend: Callable[..., jax.Array]
    kept: Callable[..., Any]
