"""Attention of whole rows to their own past, by the implementation of the platform."""

import functools

import jax

from perl.models.attention import fused, plain, table
from perl.models.attention.padding import padded
from perl.models.attention.visible import whole

_FEW = 512  # queries of a row whose scores are held at a time beside a fused kernel


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
            are always computed by `plain`; where rows have a fused kernel, only so
            many at a time that it holds few of their scores.
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
    own = functools.partial(plain.causal, window=window, **options)
    few = output_slots is not None and output_slots.shape[1] <= _FEW
    kernel = None if few else table.choose(implementation, q, soft_cap)
    if kernel is None:
        return own(q, k, v, rows, output_slots)
    if output_slots is None:
        return fused.causal(kernel, q, k, v, rows, window, **options)
    return _few_at_a_time(lambda q, at: own(q, k, v, rows, at), q, output_slots)


def _few_at_a_time(attend, q, slots):
    """`attend(q, slots)` for `q [B, E, H, N]` in `slots [B, E]`, in a loop over parts
    of them whose scores the pass backward computes again."""

    def cut(x):
        x = padded(x, 1, _FEW)
        return x.reshape(len(x), -1, _FEW, *x.shape[2:]).swapaxes(0, 1)

    run = jax.checkpoint(attend, prevent_cse=False)
    out = jax.lax.map(lambda part: run(*part), (cut(q), cut(slots))).swapaxes(0, 1)
    return out.reshape(len(q), -1, *q.shape[2:])[:, : q.shape[1]]
