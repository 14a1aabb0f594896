"""Where a reward model is right: accuracy by group, and by how sure it was.

The accuracy of one reward model differs more between batches of labels, and between
sure and unsure labellers, than between sizes of model (N+ implementation details, Huang
et al. 2024, arXiv 2403.17031), so one figure hides much.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from perl.evaluation.figures.intervals import wilson


def by_group(right: np.ndarray, groups: Sequence[Hashable]) -> list[dict[str, Any]]:
    """The accuracy of each group, in the order of the groups' names.

    Args:
        right: [n] in [0, 1]; of a prompt with several pairs, the share in the right
            order. Ties count half.
        groups: [n], what each belongs to: a batch, a labeller's confidence, a domain.

    Returns:
        Rows of group, n, accuracy and ci95 (Wilson).
    """
    right = np.asarray(right, float)
    if len(right) != len(groups):
        raise ValueError(f'buckets: {len(right)} verdicts, {len(groups)} groups')
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    return [
        {'group': name, **_share(right[members[name]])}
        for name in sorted(members, key=lambda name: (str(type(name)), name))
    ]


def by_margin(
    right: np.ndarray, margins: np.ndarray, buckets: int = 5
) -> list[dict[str, Any]]:
    """The accuracy by how far apart the two scores were, in buckets of equal size.

    Args:
        right: [n] in [0, 1].
        margins: [n], |difference of the rewards| or |logit of a rating|.
        buckets: how many; fewer where margins repeat.

    Returns:
        Rows of low, high (margins), n, accuracy and ci95 (Wilson).
    """
    right, margins = np.asarray(right, float), np.asarray(margins, float)
    edges = np.unique(np.quantile(margins, np.linspace(0, 1, buckets + 1)))
    at = np.searchsorted(edges[1:-1], margins)
    return [
        {
            'low': float(margins[at == place].min()),
            'high': float(margins[at == place].max()),
            **_share(right[at == place]),
        }
        for place in np.unique(at)
    ]


def _share(right):
    n = len(right)
    return {
        'n': n,
        'accuracy': float(right.mean()),
        'ci95': list(wilson(float(right.sum()), n)),
    }
