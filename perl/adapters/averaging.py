"""Averages of adapters: of the products, never of the factors.

The mean of `A_i` times the mean of `B_i` is not the mean of `A_i B_i`. What is averaged
here is `W_i - W`: the factors of several adapters side by side are the factors of the
sum of their products, exactly, with their ranks added up; `compress` brings the rank
down again. Arrays (heads, all weights where tuning is full) are averaged as they stand.

What is not a concatenation is computed on the host in float64: task vectors are small
differences of large arrays.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perl.adapters import tree
from perl.adapters.tunings import Full, LoraTuning, Tuning
from perl.system.errors import UserError
from perl.weights import Lora, flatten, in_layers, unflatten

_ALIKE = 1e-7  # the sine of an angle below which there is no arc to go along


def combine(deltas: Sequence[Any], coefficients: Sequence[float]) -> Any:
    """The delta whose change of the base is `sum_i c_i * change_i`.

    Args:
        deltas: over one base, with factors on the same kernels.
        coefficients: one for each.

    Raises:
        UserError: the deltas have not the same leaves.
    """
    flat = _aligned(deltas)
    return unflatten(
        {
            path: _weighted(path, [leaves[path] for leaves in flat], coefficients)
            for path in flat[0]
        }
    )


def compress(delta: Any, rank: int) -> Any:
    """The nearest delta with factors of at most `rank`, in the Frobenius norm.

    The singular values are those of `R_a R_b'` where `A = Q_a R_a` and `B' = Q_b R_b`,
    so no array of the kernel's size is formed. They are shared out evenly between the
    two factors. Factors of that rank or a lower one, and arrays, stay as they are.
    """

    def smaller(path, leaf):
        if not is_lora(leaf) or leaf.a.shape[-1] <= rank:
            return leaf
        a, b = _matrices(path, leaf)
        (qa, ra), (qb, rb) = np.linalg.qr(a), np.linalg.qr(b.swapaxes(-1, -2))
        u, s, vt = np.linalg.svd(ra @ rb.swapaxes(-1, -2), full_matrices=False)
        root = np.sqrt(s[:, None, :rank])
        new_a = qa @ u[..., :rank] * root
        new_b = (qb @ vt.swapaxes(-1, -2)[..., :rank] * root).swapaxes(-1, -2)
        return _pair(path, leaf, new_a, new_b)

    return _each(smaller, delta)


def slerp(init: Any, a: Any, b: Any, lam: float) -> Any:
    """From `a` to `b` along the arc of their task vectors (WARP, arXiv 2406.16768):

        init + sin((1 - lam) w) / sin(w) (a - init) + sin(lam w) / sin(w) (b - init)

    with `w` the angle between the task vectors of one matrix of one layer. Where they
    are parallel there is no arc, and the line between them is taken.

    Args:
        init: what both were trained from; a leaf that it lacks is a change of zero.
        a, b: deltas with the same leaves.
        lam: 0 is `a`, 1 is `b`.
    """
    start, one, other = flatten(init), *_aligned([a, b])
    made = {}
    for path in one:
        pair, before = (one[path], other[path]), start.get(path)
        weights = _arc(path, before, *pair, lam)
        if before is None or _is_zero(before):
            made[path] = _weighted(path, pair, weights)
        else:
            left = 1 - weights[0] - weights[1]
            made[path] = _weighted(path, (before, *pair), (left, *weights))
    return unflatten(made)


def interpolate_to_start(init: Any, delta: Any, eta: float) -> Any:
    """`(1 - eta) init + eta delta`: back towards where training began (WARP).

    A leaf that `init` lacks is a change of zero.
    """
    start = flatten(init)
    made = {}
    for path, leaf in flatten(delta).items():
        before = start.get(path)
        if before is None or _is_zero(before):
            made[path] = _weighted(path, [leaf], [eta])
        else:
            made[path] = _weighted(path, [before, leaf], [1 - eta, eta])
    return unflatten(made)


def as_tuning(delta: Any) -> tuple[Any, Tuning]:
    """The delta and the tuning that declares it, for a bundle.

    The rules of the tuning name every kernel and its rank; its scale is 1 at the
    largest rank, and is taken out of `b` elsewhere.
    """
    ranks = {p: x.a.shape[-1] for p, x in flatten(delta).items() if is_lora(x)}
    if not ranks:
        return delta, Full()
    largest = max(ranks.values())
    targets = tuple(f'{re.escape(path)}:{rank}' for path, rank in ranks.items())
    kind = LoraTuning(largest, float(largest), targets=targets)

    def rescaled(path, leaf):
        if not is_lora(leaf):
            return leaf
        scale = kind.scale(ranks[path])
        return Lora(leaf.a, leaf.b * (leaf.scale / scale), scale)

    return _each(rescaled, delta), kind


def _aligned(deltas):
    flat = [flatten(delta) for delta in deltas]
    for leaves in flat[1:]:
        apart = sorted(leaves.keys() ^ flat[0].keys())
        if apart:
            raise UserError(
                f'adapters: only some of those to average have {apart[0]}; '
                'train them with the same tuning'
            )
    for path, leaf in flat[0].items():
        if tree.is_adapter(leaf) and not is_lora(leaf):
            raise UserError(
                f'adapters: {path} is of kind {type(leaf).__name__}, and there is no '
                'average of those; average LoRA adapters or full weights'
            )
    return flat


def _each(function: Callable[[str, Any], Any], delta: Any) -> Any:
    return unflatten({path: function(path, x) for path, x in flatten(delta).items()})


def _weighted(path, leaves, coefficients):
    if not is_lora(leaves[0]):
        return sum(c * x for c, x in zip(coefficients, leaves, strict=True))
    parts = zip(coefficients, leaves, strict=True)
    b = [c * x.scale * x.b for c, x in parts]
    rank_axis = _lead(path)
    a = jnp.concatenate([x.a for x in leaves], axis=-1)
    return Lora(a, jnp.concatenate(b, axis=rank_axis), 1.0)


def _arc(path, before, a, b, lam):
    """The two coefficients, each to broadcast against `b`, or the array, of a leaf."""
    inner = _inner(path, before, a, b)
    norm = np.sqrt(_inner(path, before, a, a) * _inner(path, before, b, b))
    cosine = np.divide(inner, norm, out=np.ones_like(norm), where=norm > 0)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    arc = sine > _ALIKE
    weights = [
        np.where(arc, np.sin(part * angle) / np.where(arc, sine, 1), part)
        for part in (1 - lam, lam)
    ]
    axes = (a.b if is_lora(a) else a).ndim - _lead(path)
    layers = weights[0].shape[: _lead(path)]
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
        change = _host(leaf) - (0 if before is None else _host(before))
        depth = change.shape[0] if _lead(path) else 1
        return [(None, change.reshape(depth, 1, -1))]
    parts = [_matrices(path, leaf)]
    if before is not None:
        a, b = _matrices(path, before)
        parts.append((a, -b))
    return parts


def _matrices(path, lora):
    """The factors `[L, I, R]` and `[L, R, O]` in float64, the scale in the second."""
    a, b = _host(lora.a), _host(lora.b) * lora.scale
    depth, rank = (a.shape[0] if _lead(path) else 1), a.shape[-1]
    return a.reshape(depth, -1, rank), b.reshape(depth, rank, -1)


def _pair(path, like, a, b):
    """Matrices as the factors of a kernel again."""
    rank, lead = a.shape[-1], like.a.shape[: _lead(path)]
    outputs = like.b.shape[_lead(path) + 1 :]
    return Lora(
        jnp.asarray(a.reshape(*like.a.shape[:-1], rank), jnp.float32),
        jnp.asarray(b.reshape(*lead, rank, *outputs), jnp.float32),
        1.0,
    )


def is_lora(leaf: Any) -> bool:
    """Whether a leaf is a pair of factors, else an array."""
    return isinstance(leaf, Lora)


def _is_zero(leaf):
    return is_lora(leaf) and not np.any(jax.device_get(leaf.b))


def _lead(path):
    return int(in_layers(path))


def _host(x):
    return np.asarray(jax.device_get(x), np.float64)
