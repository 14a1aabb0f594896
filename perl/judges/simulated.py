"""The simulated annotators of the embedded domain as a labeller of texts."""

from collections.abc import Callable, Sequence

import numpy as np

from perl.data.sets.desk import quality
from perl.data.sets.desk.annotators import Pool
from perl.judges.asking import Labeller, Texts
from perl.judges.language.answers import key


def labeller(
    pool: Pool,
    aspects: Callable[[str, str], Sequence[float]] = lambda *texts: (
        quality.aspects(*texts).values
    ),
) -> Labeller:
    """Labels 1 or 0 by one annotator of the pool a pair; 0.5 for equal texts.

    Which of them, and whether the label flips, is decided by the pool's seed and the
    texts of the pair: the same pair is always labelled alike, in whatever place.

    Args:
        pool: the annotators.
        aspects: of (prompt, response), what they weigh; by default those of the
            booking desk. A prompt that is no request to the desk is a UserError.
    """

    def label(prompt, first, second):
        if first == second:
            return 0.5
        low, high = sorted((first, second))
        index = int(key(prompt, low, high)[:15], 16)
        won = pool.prefers_first(
            index,
            np.asarray(aspects(prompt, low)),
            np.asarray(aspects(prompt, high)),
        )
        return float(won == (first == low))

    def labelled(prompts: Texts, firsts: Texts, seconds: Texts) -> np.ndarray:
        return np.array(list(map(label, prompts, firsts, seconds)), np.float64)

    return labelled
