"""Win rates of pairs that a judge was asked about in both orders."""

import numpy as np

from perl.evaluation.figures.intervals import bootstrap, sign_test, wilson
from perl.system.errors import UserError


def win_metrics(
    won: np.ndarray, biased: np.ndarray
) -> dict[str, float | int | list[float]]:
    """Figures of who won.

    Args:
        won: [n], 1 where the first response wins, 0 where the second does, 0.5 for a
            tie; as `judges.Labels.won`.
        biased: bool [n], whether one place won twice; as `judges.Labels.biased`.

    Returns:
        win_rate = (wins + ties / 2) / n, win_rate_ci95 (Wilson),
        win_rate_bootstrap95 (the prompts drawn anew, a prompt with both its responses),
        wins, ties, losses, n, sign_test (two-sided p-value, ties left out), and
        position_bias, the share of pairs where the same place won twice.

    Raises:
        UserError: there is no pair.
    """
    if not len(won):
        raise UserError('win rate: there is no pair to compare; give a prompt or more')
    wins, losses, n = int(np.sum(won == 1)), int(np.sum(won == 0)), len(won)
    ties = n - wins - losses
    return {
        'win_rate': (wins + ties / 2) / n,
        'win_rate_ci95': list(wilson(wins + ties / 2, n)),
        'win_rate_bootstrap95': list(bootstrap(lambda x: x.mean(-1), won)),
        'wins': wins,
        'ties': ties,
        'losses': losses,
        'n': n,
        'sign_test': sign_test(wins, losses),
        'position_bias': float(biased.mean()),
    }
