"""Win rates of pairs that a judge was asked about in both orders."""

import numpy as np

from perl.evaluation.figures import clusters as cluster
from perl.evaluation.figures.clusters import Clusters
from perl.evaluation.figures.intervals import share, sign_test
from perl.system.errors import UserError


def win_metrics(
    won: np.ndarray, biased: np.ndarray, clusters: Clusters = None
) -> dict[str, float | int | list[float]]:
    """Figures of who won.

    Args:
        won: `[n]`, 1 where the first response wins, 0 where the second does, 0.5 for a
            tie; as `judges.Labels.won`.
        biased: bool `[n]`, whether one place won twice; as `judges.Labels.biased`.
        clusters: `[n]`, what each prompt belongs to; by default each is on its own.

    Returns:
        n and its clusters; win_rate = (wins + ties / 2) / n and win_rate_ci95
        (`intervals.share`); wins, ties, losses; sign_test (two-sided p-value; clusters
        with as many wins as losses are left out); and position_bias, the share of pairs
        where the same place won twice.

    Raises:
        UserError: there is no pair.
    """
    if not len(won):
        raise UserError('win rate: there is no pair to compare; give a prompt or more')
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
