"""Win rates from a judge's verdicts on pairs in both orders."""

import numpy as np

from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import share, sign_test
from perl.system.errors import UserError


def win_metrics(
    won: np.ndarray, biased: np.ndarray, clusters: Clusters = None
) -> dict[str, float | int | list[float]]:
    """The figures of wins and losses.

    Args:
        won: `[n]`, 1 if the first response wins, 0 if the second does, 0.5 for a tie;
            see `judges.Labels.won`.
        biased: bool `[n]`, whether the same position won in both orders; see
            `judges.Labels.biased`.
        clusters: `[n]`, the cluster of each prompt; by default every row is its own.

    Returns:
        n and its clusters; win_rate = (wins + ties / 2) / n and win_rate_ci95
        (`intervals.share`); wins, ties, losses; sign_test (two-sided p-value; clusters
        with as many wins as losses are left out); and position_bias, the share of pairs
        in which the same position won in both orders.

    Raises:
        UserError: there is no pair.
    """
    if not len(won):
        raise UserError('win rate: there is no pair to compare; give more prompts')
    wins, losses, n = int(np.sum(won == 1)), int(np.sum(won == 0)), len(won)
    ties = n - wins - losses
    return {
        'n': n,
        'clusters': cluster.count(clusters, n),
        'win_rate': (wins + ties / 2) / n,
        'win_rate_ci95': list(share(won, clusters)),
        'wins': wins,
        'ties': ties,
        'losses': losses,
        'sign_test': sign_test(won - 0.5, clusters),
        'position_bias': float(biased.mean()),
    }
