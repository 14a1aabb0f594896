"""Win rates by a judge that is asked twice."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from perl.evaluation.figures.intervals import bootstrap, sign_test, wilson
from perl.system.errors import UserError

Texts = Sequence[str]


class Judge(Protocol):
    """Says which of two responses to each prompt is better."""

    def __call__(self, prompts: Texts, first: Texts, second: Texts) -> np.ndarray:
        """1.0 where the first is better, 0.5 for a tie, 0.0 otherwise: [n]."""
        ...


def from_scores(
    score: Callable[[list[str], list[str]], Sequence[float]], margin: float = 0.0
) -> Judge:
    """The judge that prefers the higher score.

    Args:
        score: maps n prompts and their n responses to n scores, a reward model for
            one. It must be deterministic: what it was asked once is remembered.
        margin: scores that differ by no more are a tie.
    """
    known: dict[tuple[str, str], float] = {}

    def judge(prompts: Texts, first: Texts, second: Texts) -> np.ndarray:
        asked = [
            *zip(prompts, first, strict=True),
            *zip(prompts, second, strict=True),
        ]
        new = [pair for pair in dict.fromkeys(asked) if pair not in known]
        if new:
            scores = score(*map(list, zip(*new, strict=True)))
            known.update(zip(new, scores, strict=True))
        a, b = np.array([known[pair] for pair in asked], float).reshape(2, -1)
        if not np.isfinite(a - b).all():
            raise UserError('judge: a score is not finite; mend the model that scores')
        return np.where(np.abs(a - b) <= margin, 0.5, a > b)

    return judge


def from_gold(gold: Callable[[str, str], float], margin: float = 0.0) -> Judge:
    """The judge that prefers the higher exact reward of (prompt, response)."""
    return from_scores(lambda *texts: list(map(gold, *texts)), margin)


def win_rate(
    judge: Judge, prompts: Texts, a: Texts, b: Texts
) -> dict[str, float | int | list[float]]:
    """How often responses `a` beat responses `b`: `win_metrics` of `both_orders`."""
    return win_metrics(*both_orders(judge, prompts, a, b))


def both_orders(
    judge: Judge, prompts: Texts, a: Texts, b: Texts
) -> tuple[np.ndarray, np.ndarray]:
    """Asks the judge about each pair twice, the second time in the other order.

    Only a verdict that survives the exchange counts, all else is a tie (PERL, arXiv
    2403.10704, evaluation protocol).

    Returns:
        won [n], 1.0 where `a` wins, 0.0 where `b` does, else 0.5; and biased, bool [n],
        where the same place won twice.

    Raises:
        UserError: nothing to compare, lengths differ, or a verdict is no verdict.
    """
    n = len(prompts)
    if not n == len(a) == len(b) or n == 0:
        raise UserError(
            f'win rate: {n} prompts with {len(a)} and {len(b)} responses; give each '
            'prompt, of at least one, a response of either side'
        )
    forward, backward = _verdicts(judge, prompts, a, b), _verdicts(judge, prompts, b, a)
    won = np.where((forward == 1) & (backward == 0), 1.0, 0.5)
    won = np.where((forward == 0) & (backward == 1), 0.0, won)
    return won, (forward == backward) & (forward != 0.5)


def win_metrics(
    won: np.ndarray, biased: np.ndarray
) -> dict[str, float | int | list[float]]:
    """The figures of what `both_orders` returns.

    Returns:
        win_rate = (wins + ties / 2) / n, win_rate_ci95 (Wilson),
        win_rate_bootstrap95 (the prompts drawn anew, a prompt with both its responses),
        wins, ties, losses, n, sign_test (two-sided p-value, ties left out), and
        position_bias, the share of pairs where the same place won twice.
    """
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


def _verdicts(judge, prompts, first, second):
    verdicts = np.asarray(judge(prompts, first, second), float)
    if verdicts.shape != (len(prompts),) or not np.isin(verdicts, [0, 0.5, 1]).all():
        raise UserError(
            f'win rate: the judge answered {len(prompts)} pairs with an array of shape '
            f'{verdicts.shape}; it must say 1, 0.5 or 0 for each'
        )
    return verdicts
