"""The reward that policies reach at each distance from where they started."""

from typing import Any

import numpy as np

POINTS = 16  # of one run: each is the mean of neighbouring iterations


def pareto(kl: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Which points no other one beats: [n], [n] -> bool [n].

    A point is beaten by one with no more KL and no less reward that is better in one of
    the two. Of equal points all stay.
    """
    kl, reward = np.asarray(kl, float), np.asarray(reward, float)
    nearer, higher = kl[:, None] <= kl, reward[:, None] >= reward
    better = (kl[:, None] < kl) | (reward[:, None] > reward)
    return ~np.any(nearer & higher & better, axis=0)


def path(rows: list[dict[str, Any]], points: int = POINTS) -> list[dict[str, Any]]:
    """A policy's way as a few points.

    The best of many noisy iterations is a lucky one, so that a frontier of them would
    lie too high. Neighbours are therefore averaged first.

    Args:
        rows: of `metrics.jsonl`: step, kl, reward and, where known, gold.
        points: at most so many.

    Returns:
        Rows of step (the last one), iterations, kl, reward and gold; without what a
        line does not have.
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
    """The points that no other one beats, from the least KL to the most.

    Args:
        points: rows with kl and, most of them, the reward.
        reward: reward, or gold.
    """
    points = [point for point in points if _numbers(point, ('kl', reward))]
    if not points:
        return []
    kept = pareto(*(np.array([point[x] for point in points]) for x in ('kl', reward)))
    best = [point for point, stays in zip(points, kept, strict=True) if stays]
    return sorted(best, key=lambda point: (point['kl'], point[reward]))


def _numbers(row, names):
    return all(
        isinstance(row.get(name), int | float) and np.isfinite(row[name])
        for name in names
    )
