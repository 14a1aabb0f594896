"""The simulated annotators of the booking desk as a preference."""

from collections.abc import Callable, Sequence

import numpy as np

from perl.data.sets.desk import quality
from perl.data.sets.desk.annotators import Pool
from perl.judges.language.answers import key
from perl.judges.reward import Preference, Texts


def preference(
    annotators: Pool,
    aspects: Callable[[str, str], Sequence[float]] = lambda *texts: (
        quality.aspects(*texts).values
    ),
) -> Preference:
    """The preference of one annotator per pair: 1 or 0, and 0.5 for equal texts.

    The annotators' seed and the texts of a pair determine the annotator and whether the
    label is flipped. So the same pair always gets the same label, in both orders.

    Args:
        annotators: the pool of annotators.
        aspects: maps (prompt, response) to the aspects that an annotator weighs; by
            default those of the booking desk, which raise a `UserError` for a prompt
            that is not a request to the desk.
    """

    def compare(prompt, first, second):
        if first == second:
            return 0.5
        low, high = sorted((first, second))
        index = int(key(prompt, low, high)[:15], 16)
        low_won = annotators.prefers_first(
            index,
            np.asarray(aspects(prompt, low)),
            np.asarray(aspects(prompt, high)),
        )
        return float(low_won == (first == low))

    def prefer(prompts: Texts, firsts: Texts, seconds: Texts) -> np.ndarray:
        return np.array(list(map(compare, prompts, firsts, seconds)), np.float64)

    return prefer
