"""The frontier of policies in the plane of KL and reward."""

from typing import Any

import numpy as np

POINTS = 16  # points per policy; each is the mean of neighbouring iterations


def pareto(kl: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Which points no other point dominates: `[n]`, `[n]` -> bool `[n]`.

    A point is dominated by another with KL at most as large, reward at least as large,
    and one of the two strictly better. Equal points do not dominate each other.
    """
    kl, reward = np.asarray(kl, float), np.asarray(reward, float)
    less_kl, more_reward = kl[:, None] <= kl, reward[:, None] >= reward
    better = (kl[:, None] < kl) | (reward[:, None] > reward)
    return ~np.any(less_kl & more_reward & better, axis=0)


def path(rows: list[dict[str, Any]], points: int = POINTS) -> list[dict[str, Any]]:
    """A policy's training as a few points, each the mean of neighbouring iterations.

    The best of many noisy iterations is best partly by luck, so a frontier of single
    iterations would be too high.

    Args:
        rows: lines of `metrics.jsonl`: step, kl, reward and, if known, gold.
        points: the largest number of points.

    Returns:
        Rows of step (the last one), iterations, kl, reward and gold, as far as the
        lines have them.
    """
    names = ('kl', 'reward', 'gold')
    rows = [row for row in rows if _numbers(row, ('step', 'kl', 'reward'))]
    parts = np.array_split(np.arange(len(rows)), min(points, len(rows)) or 1)
    return [
        {
            'step': rows[part[-1]]['step'],
            'iterations': len(part),
            **{
                name: float(np.mean([rows[i][name] for i in part]))
                for name in names
                if all(_numbers(rows[i], (name,)) for i in part)
            },
        }
        for part in parts
        if len(part)
    ]


def frontier(
    points: list[dict[str, Any]], reward: str = 'reward'
) -> list[dict[str, Any]]:
    """The points that no other point dominates, in the order of their KL.

    Args:
        points: rows with kl and reward; rows without one of them are skipped.
        reward: the key of the reward: 'reward' or 'gold'.
    """
    points = [point for point in points if _numbers(point, ('kl', reward))]
    if not points:
        return []
    on = pareto(*(np.array([point[x] for point in points]) for x in ('kl', reward)))
    best = [point for point, is_best in zip(points, on, strict=True) if is_best]
    return sorted(best, key=lambda point: (point['kl'], point[reward]))


def _numbers(row, names):
    return all(
        isinstance(row.get(name), int | float) and np.isfinite(row[name])
        for name in names
    )
