"""Averages of adapters: of the products, never of the factors.

The mean of `A_i` times the mean of `B_i` is not the mean of `A_i B_i`. What is averaged
here is `W_i - W`: the factors of several adapters side by side are the factors of the
sum of their products, exactly, with their ranks added up; `compress` brings the rank
down again. Arrays (heads, all weights where tuning is full) are averaged as they stand.
How adapters of another kind are averaged is said by the kind (`Adapter.combine`).

What is not a concatenation is computed on the host in float64: task vectors are small
differences of large arrays.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from perl.adapters import tree
from perl.adapters.factors import is_lora, lead, matrices, pair
from perl.adapters.task_vectors import arc
from perl.system import placement
from perl.system.errors import UserError
from perl.weights import flatten, unflatten


def combine(
    deltas: Sequence[Any], coefficients: Sequence[float], base: Any = None
) -> Any:
    """The delta whose change of the base is `sum_i c_i * change_i`.

    Args:
        deltas: over one base, with adapters on the same kernels.
        coefficients: one for each; of DoRA they add up to 1.
        base: that they sit on; only the average of DoRA reads it.

    Raises:
        UserError: the deltas have not the same leaves, or a kind without an average.
    """
    flat, kernels = _aligned(deltas), flatten(base or {})
    return unflatten(
        {
            path: _weighted(
                path, [leaves[path] for leaves in flat], coefficients, kernels.get(path)
            )
            for path in flat[0]
        }
    )


def compress(delta: Any, rank: int) -> tuple[Any, float]:
    """The nearest delta with factors of at most `rank`, in the Frobenius norm, and the
    share of the change that is lost, `|lost| / |change|` over all factors.

    The singular values are those of `R_a R_b'` where `A = Q_a R_a` and `B' = Q_b R_b`,
    so no array of the kernel's size is formed. They are shared out evenly between the
    two factors. Factors of that rank or a lower one, and arrays, stay as they are.

    Raises:
        UserError: the delta has a kind of leaf without such factors.
    """
    lost = total = 0.0

    def smaller(path, leaf):
        nonlocal lost, total
        _check_factors(path, leaf)
        if not is_lora(leaf):
            return leaf
        a, b = matrices(path, leaf)
        (qa, ra), (qb, rb) = np.linalg.qr(a), np.linalg.qr(b.swapaxes(-1, -2))
        u, s, vt = np.linalg.svd(ra @ rb.swapaxes(-1, -2), full_matrices=False)
        total += np.sum(s**2)
        if leaf.a.shape[-1] <= rank:
            return leaf
        lost += np.sum(s[:, rank:] ** 2)
        root = np.sqrt(s[:, None, :rank])
        new_a = qa @ u[..., :rank] * root
        new_b = (qb @ vt.swapaxes(-1, -2)[..., :rank] * root).swapaxes(-1, -2)
        return pair(path, leaf, new_a, new_b)

    nearest = unflatten({path: smaller(path, x) for path, x in flatten(delta).items()})
    return nearest, float(np.sqrt(lost / total)) if total else 0.0


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
        _check_factors(path, one[path])
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
    start, averaged = flatten(init), {}
    for path, leaf in _aligned([delta])[0].items():
        _check_factors(path, leaf)
        before = start.get(path)
        if before is None or _is_zero(before):
            averaged[path] = _weighted(path, [leaf], [eta])
        else:
            averaged[path] = _weighted(path, [before, leaf], [1 - eta, eta])
    return unflatten(averaged)


def _aligned(deltas):
    flat = [flatten(tree.with_one_scale(delta)) for delta in deltas]
    for leaves in flat[1:]:
        apart = sorted(leaves.keys() ^ flat[0].keys())
        if apart:
            raise UserError(
                f'adapters: only some of those to average have {apart[0]}; '
                'train them with the same tuning'
            )
        for path, leaf in leaves.items():
            kinds = [type(x).__name__ for x in (flat[0][path], leaf)]
            if tree.is_adapter(leaf) and kinds[0] != kinds[1]:
                raise UserError(
                    f'adapters: {path} is of kind {kinds[0]} in one and {kinds[1]} in '
                    'another; train them with the same tuning'
                )
    return flat


def _check_factors(path, leaf):
    if tree.is_adapter(leaf) and not is_lora(leaf):
        raise UserError(
            f'adapters: {path} is of kind {type(leaf).__name__}, whose change is not a '
            'product of two factors; take the mean, or train with LoRA or in full'
        )


def _weighted(path, leaves, coefficients, base=None):
    if tree.is_adapter(leaves[0]):
        return type(leaves[0]).combine(leaves, coefficients, lead(path), base)
    return sum(c * x for c, x in zip(coefficients, leaves, strict=True))


def _is_zero(leaf):
    return is_lora(leaf) and not np.any(placement.fetch(leaf.b))
