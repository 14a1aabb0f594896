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
from perl.adapters.factors import is_lora, lead, matrices, pair
from perl.adapters.task_vectors import arc
from perl.adapters.tunings import Full, LoraTuning, Tuning
from perl.system.errors import UserError
from perl.weights import Lora, flatten, unflatten


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
        a, b = matrices(path, leaf)
        (qa, ra), (qb, rb) = np.linalg.qr(a), np.linalg.qr(b.swapaxes(-1, -2))
        u, s, vt = np.linalg.svd(ra @ rb.swapaxes(-1, -2), full_matrices=False)
        root = np.sqrt(s[:, None, :rank])
        new_a = qa @ u[..., :rank] * root
        new_b = (qb @ vt.swapaxes(-1, -2)[..., :rank] * root).swapaxes(-1, -2)
        return pair(path, leaf, new_a, new_b)

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
    averaged = {}
    for path in one:
        ends, before = (one[path], other[path]), start.get(path)
        weights = arc(path, before, *ends, lam)
        if before is None or _is_zero(before):
            averaged[path] = _weighted(path, ends, weights)
        else:
            left = 1 - weights[0] - weights[1]
            averaged[path] = _weighted(path, (before, *ends), (left, *weights))
    return unflatten(averaged)


def interpolate_to_start(init: Any, delta: Any, eta: float) -> Any:
    """`(1 - eta) init + eta delta`: back towards where training began (WARP).

    A leaf that `init` lacks is a change of zero.
    """
    start = flatten(init)
    averaged = {}
    for path, leaf in flatten(delta).items():
        before = start.get(path)
        if before is None or _is_zero(before):
            averaged[path] = _weighted(path, [leaf], [eta])
        else:
            averaged[path] = _weighted(path, [before, leaf], [1 - eta, eta])
    return unflatten(averaged)


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
    b = [c * x.scale * x.b for c, x in zip(coefficients, leaves, strict=True)]
    rank_axis = lead(path)
    a = jnp.concatenate([x.a for x in leaves], axis=-1)
    return Lora(a, jnp.concatenate(b, axis=rank_axis), 1.0)


def _is_zero(leaf):
    return is_lora(leaf) and not np.any(jax.device_get(leaf.b))
