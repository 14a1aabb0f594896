"""Labels of pairs: the judge compares each pair in both orders."""

import dataclasses

import numpy as np

from perl.judges.reward import Preference, Texts
from perl.system.errors import UserError

# Preferences are multiples of this, so that 1 - p is exact.
_STEP = 2.0**-33


@dataclasses.dataclass(frozen=True)
class Labels:
    """A judge's answers about n pairs, in both orders.

    Attributes:
        forward: float64 `[n]`, the probability that the first response is better when
            it is shown first; NaN for no verdict.
        backward: float64 `[n]`, the probability that the second response is better when
            it is shown first; NaN for no verdict.
    """

    forward: np.ndarray
    backward: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """bool `[n]`: whether there is a verdict in both orders."""
        return np.isfinite(self.forward) & np.isfinite(self.backward)

    @property
    def unanswered(self) -> int:
        """The number of the 2n questions that have no verdict."""
        return int(np.isnan(self.forward).sum() + np.isnan(self.backward).sum())

    @property
    def preferences(self) -> np.ndarray:
        """float64 `[n]` in [0, 1]: the mean of both orders (RLAIF, arXiv 2309.00267,
        section 2.1); 0.5 where a verdict is missing. Swapping the two responses of
        every pair gives exactly 1 - p."""
        difference = np.where(self.known, self.forward - self.backward, 0.0)
        return 0.5 + np.round(difference / 2 / _STEP) * _STEP

    @property
    def won(self) -> np.ndarray:
        """float64 `[n]`: 1 if the first response wins in both orders, 0 if the second
        does, else 0.5 (PERL, arXiv 2403.10704, evaluation protocol)."""
        first = (self.forward > 0.5) & (self.backward < 0.5)
        second = (self.forward < 0.5) & (self.backward > 0.5)
        return 0.5 + (first * 0.5 - second * 0.5)

    @property
    def biased(self) -> np.ndarray:
        """bool `[n]`: whether the response in the same position (first or second) won
        in both orders."""
        known = np.where(self.known, (self.forward - 0.5) * (self.backward - 0.5), 0)
        return known > 0

    @property
    def position_bias(self) -> float:
        """The share of biased pairs among the pairs with verdicts; 0 without any."""
        return float(self.biased[self.known].mean()) if self.known.any() else 0.0


def both_orders(
    preference: Preference, prompts: Texts, firsts: Texts, seconds: Texts
) -> Labels:
    """Compares every pair in both orders, with one call of the judge.

    Args:
        preference: the judge.
        prompts, firsts, seconds: n texts each.

    Raises:
        UserError: the numbers of texts differ, or an answer is not a probability.
    """
    n = len(prompts)
    if not n == len(firsts) == len(seconds):
        raise UserError(
            f'labels: {n} prompts with {len(firsts)} and {len(seconds)} responses; '
            'give two responses to each prompt'
        )
    if not n:
        return Labels(np.zeros(0), np.zeros(0))
    answers = preference([*prompts] * 2, [*firsts, *seconds], [*seconds, *firsts])
    answers = np.asarray(answers, np.float64)
    if answers.shape != (2 * n,) or ((answers < 0) | (answers > 1)).any():
        raise UserError(
            f'labels: the judge answered {2 * n} questions with shape {answers.shape}, '
            'or with a number outside [0, 1]; fix the judge'
        )
    return Labels(answers[:n], answers[n:])
