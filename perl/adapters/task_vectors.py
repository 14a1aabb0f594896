"""Task vectors, what training has changed, and the arc between two of them.

They are small differences of large arrays, so they are computed on the host in float64.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.adapters.factors import host, is_lora, lead, matrices

_ALIKE = 1e-7  # the sine of an angle below which there is no arc to go along


def arc(path: str, before: Any, a: Any, b: Any, lam: float) -> list[jax.Array]:
    """The coefficients of two task vectors in a point of the arc between them.

    Args:
        path: of the leaf.
        before: the leaf that both were trained from; None is a change of zero.
        a, b: the two leaves: each an array `[L, ...]`, or factors `a [L, *inputs, R]`
            and `b [L, R, *outputs]`; outside of the layers they have no `L`.
        lam: 0 is `a`, 1 is `b`.

    Returns:
        Two float32 arrays `[L, 1, ..., 1]` (without `L`: `[1, ..., 1]`), with as many
        axes as the factor `b` of the leaf, or as the array.
    """
    inner = _inner(path, before, a, b)
    norm = np.sqrt(_inner(path, before, a, a) * _inner(path, before, b, b))
    cosine = np.divide(inner, norm, out=np.ones_like(norm), where=norm > 0)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    curved = sine > _ALIKE
    weights = [
        np.where(curved, np.sin(share * angle) / np.where(curved, sine, 1), share)
        for share in (1 - lam, lam)
    ]
    axes = (a.b if is_lora(a) else a).ndim - lead(path)
    layers = weights[0].shape[: lead(path)]
    return [
        jnp.asarray(w.reshape((*layers, *[1] * axes)), jnp.float32) for w in weights
    ]


def _inner(path, before, a, b):
    """`<a - before, b - before>` of each layer, `[L]` (or `[1]`) float64."""
    one, other = (_task(path, before, x) for x in (a, b))
    total = 0.0
    for a1, b1 in one:
        for a2, b2 in other:
            if a1 is None:
                total += np.sum(b1 * b2, axis=(-2, -1))
            else:
                grams = a1.swapaxes(-1, -2) @ a2, b1 @ b2.swapaxes(-1, -2)
                total += np.sum(grams[0] * grams[1], axis=(-2, -1))
    return np.maximum(total, 0) if a is b else total


def _task(path, before, leaf):
    """A task vector as the pairs of matrices whose products add up to it."""
    if not is_lora(leaf):
        change = host(leaf) - (0 if before is None else host(before))
        depth = change.shape[0] if lead(path) else 1
        return [(None, change.reshape(depth, 1, -1))]
    products = [matrices(path, leaf)]
    if before is not None:
        a, b = matrices(path, before)
        products.append((a, -b))
    return products
