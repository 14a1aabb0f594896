"""A pool of simulated annotators who disagree with each other and make mistakes.

AlpacaFarm (arXiv 2305.14387) draws one of 13 annotators for each comparison and flips
a quarter of the training labels; because of this variability a policy over-optimises
its reward model. Here an annotator is a weighting of the aspects of a response.
"""

import dataclasses

import numpy as np

from perl.data.sets.desk import quality
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Pool:
    """Annotators, each with different weights of A aspects.

    Attributes:
        weights: float64 `[annotators, A]`, each row positive with sum 1.
        flip: the probability that a label is flipped.
        seed: the seed and the number of a comparison determine its annotator and
            whether its label is flipped.
    """

    weights: np.ndarray
    flip: float
    seed: int

    def prefers_first(self, index: int, first: np.ndarray, second: np.ndarray) -> bool:
        """The label of comparison `index`: is `first` better than `second`?

        Args:
            index: number of the comparison, >= 0.
            first, second: aspects of the two completions, float `[A]`.
        """
        rng = np.random.default_rng((self.seed, index))
        weights = self.weights[rng.integers(len(self.weights))]
        difference = float(weights @ (np.asarray(first) - np.asarray(second)))
        toss, flips = rng.random() < 0.5, rng.random() < self.flip
        preferred = toss if difference == 0 else difference > 0
        return bool(preferred) != bool(flips)


def pool(
    weights: tuple[float, ...],
    count: int = 13,
    agreement: float = 10.0,
    flip: float = 0.25,
    seed: int = 0,
) -> Pool:
    """`count` annotators whose weights are Dirichlet(agreement * weights).

    Args:
        weights: the mean weights of the aspects, positive, sum 1.
        count: number of annotators; 13 in AlpacaFarm.
        agreement: concentration; the larger, the more similar are the annotators.
        flip: probability of a flipped label; 0.25 in AlpacaFarm.
        seed: determines the weights and all labels.

    Raises:
        UserError: count, agreement or flip is out of range.
    """
    if count < 1 or agreement <= 0 or not 0 <= flip <= 0.5:
        raise UserError(
            f'annotators: count {count} must be at least 1, agreement {agreement} '
            f'positive and flip {flip} between 0 and 0.5'
        )
    rng = np.random.default_rng((seed, count))
    drawn = rng.dirichlet(agreement * np.asarray(weights, float), size=count)
    return Pool(drawn, flip, seed)


def of_desk(flip: float, seed: int) -> Pool:
    """The annotators of the booking desk: they weigh the aspects of its gold reward."""
    return pool(tuple(quality.WEIGHTS.values()), flip=flip, seed=seed)
