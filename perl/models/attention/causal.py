"""Attention of whole rows to their own past, by the implementation of the platform."""

import jax

from perl.models.attention import fused, plain, table
from perl.models.attention.visible import whole


def causal(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segments: jax.Array | None = None,
    output_slots: jax.Array | None = None,
    *,
    scale: float | None = None,
    soft_cap: float | None = None,
    window: int | jax.Array | None = None,
    positions: jax.Array | None = None,
    implementation: str = 'auto',
) -> jax.Array:
    """Self-attention `[B, T, H, N]` of rows to their own past.

    Args:
        q: `[B, T, H, N]`.
        k: `[B, T, K, N]`; H is a multiple of K, query head h reads key head
            h // (H / K) (grouped queries, arXiv 2305.13245).
        v: as `k`.
        segments: `[B, T]` int32: -1 is padding, 0 is seen by every later token of
            the row, k > 0 by later tokens of the same segment. None is one segment.
        output_slots: `[B, E]` int32: `q` has these slots alone, `[B, E, H, N]`. They
            are few, and always computed by `plain`.
        scale: of the scores; 1 / sqrt(N) by default.
        soft_cap: bounds the scores to +-soft_cap with a tanh (Gemma 2, arXiv
            2408.00118); None leaves them.
        window: how many tokens a token sees, itself included; None sees all.
        positions: `[B, T]` int32, that the window counts: in a row of several
            completions, the slots of the others are not between. None counts slots.
        implementation: a name in `table.FUSED`, `plain`, or `auto`: the one that suits
            the platform that the program is compiled for.

    Raises:
        UserError: the implementation was named, and cannot do this here.
    """
    rows = whole(k.shape[1], segments, positions, window)
    options = {'scale': scale, 'soft_cap': soft_cap}
    if output_slots is None:
        kernel = table.choose(implementation, q, soft_cap)
        if kernel is not None:
            return fused.causal(kernel, q, k, v, rows, window, **options)
    return plain.causal(q, k, v, rows, output_slots, window=window, **options)
