"""Rows of attention: who sees whom, cell by cell, and a loop over queries."""

import jax.numpy as jnp
import numpy as np

SHARED = [0, 0, 0, 1, 1, 2, 2, 2, -1, -1]  # a prompt, two completions, padding
PACKED = [1, 1, 2, 2, 2, 3, 3, 3, 3, -1]  # three documents and padding


def reference(q, k, v, seen, scale=None, soft_cap=None):
    """Softmax attention in float64, a query at a time; `seen [B, T, S]`."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    batch, tokens, heads, width = q.shape
    out, group = np.zeros(q.shape), heads // k.shape[2]
    for b, t, h in np.ndindex(batch, tokens, heads):
        keys = np.flatnonzero(seen[b, t])
        if not keys.size:
            continue
        scores = k[b, keys, h // group] @ q[b, t, h]
        scores *= width**-0.5 if scale is None else scale
        if soft_cap is not None:
            scores = soft_cap * np.tanh(scores / soft_cap)
        weights = np.exp(scores - scores.max())
        out[b, t, h] = weights @ v[b, keys, h // group] / weights.sum()
    return out


def visible(batch, tokens, segments=None, window=None):
    """The mask of the module's contract, cell by cell."""
    seen = np.zeros((batch, tokens, tokens), bool)
    for b, t, s in np.ndindex(seen.shape):
        own, other = (1, 1) if segments is None else segments[b, [t, s]]
        near = window is None or t - s < window
        seen[b, t, s] = s <= t and near and other >= 0 and other in (own, 0)
    return seen


def draw(tokens=10, batch=2, heads=4, kv_heads=2, width=8, seed=0, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    shapes = [(batch, tokens, n, width) for n in (heads, kv_heads, kv_heads)]
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]
