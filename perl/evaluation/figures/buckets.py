"""Accuracy of a reward model by group, and by its confidence.

The accuracy of a reward model differs more between batches of labels, and between sure
and unsure labellers, than between model sizes (N+ implementation details, Huang et al.
2024, arXiv 2403.17031), so one overall figure is not enough.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import share


def by_group(
    right: np.ndarray, groups: Sequence[Hashable], clusters: Clusters = None
) -> list[dict[str, Any]]:
    """The accuracy of each group, in the order of the groups' names.

    Args:
        right: `[n]` in [0, 1]; for a comparison with several pairs, the share in the
            right order. Equal scores are half right.
        groups: `[n]`, the group of each row: a batch, a labeller's confidence, a
            domain.
        clusters: `[n]`; by default every row is its own.

    Returns:
        Rows of group, n, accuracy and ci95 (`intervals.share`).
    """
    right = np.asarray(right, float)
    if len(right) != len(groups):
        raise ValueError(f'buckets: {len(right)} verdicts, {len(groups)} groups')
    clusters = cluster.numbers(clusters, len(right))
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    return [
        {'group': name, **_accuracy(right, clusters, members[name])}
        for name in sorted(members, key=lambda name: (str(type(name)), name))
    ]


def by_margin(
    right: np.ndarray,
    margins: np.ndarray,
    buckets: int = 5,
    clusters: Clusters = None,
) -> list[dict[str, Any]]:
    """The accuracy by the difference of the two scores, in buckets of equal size.

    Args:
        right: `[n]` in [0, 1].
        margins: `[n]`, |difference of the rewards| or |logit of a rating|.
        buckets: the number of buckets; fewer if margins repeat.
        clusters: `[n]`; by default every row is its own.

    Returns:
        Rows of low, high (margins), n, accuracy and ci95 (`intervals.share`).
    """
    right, margins = np.asarray(right, float), np.asarray(margins, float)
    clusters = cluster.numbers(clusters, len(right))
    if not len(right):
        return []
    edges = np.unique(np.quantile(margins, np.linspace(0, 1, buckets + 1)))
    at = np.searchsorted(edges[1:-1], margins)
    return [
        {
            'low': float(margins[at == place].min()),
            'high': float(margins[at == place].max()),
            **_accuracy(right, clusters, at == place),
        }
        for place in np.unique(at)
    ]


def _accuracy(right, clusters, rows):
    return {
        'n': len(right[rows]),
        'accuracy': float(right[rows].mean()),
        'ci95': list(share(right[rows], clusters[rows])),
    }
