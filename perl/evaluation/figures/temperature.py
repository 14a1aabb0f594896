"""Temperature scaling, which calibrates the probabilities of a reward model."""

import numpy as np
import scipy.optimize
from scipy.special import expit

# 1 / T is searched within this factor of the inverse scale of the logits.
_REACH = 1e3


def log_loss(logits: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """The mean of -y log sigma(z) - (1 - y) log sigma(-z), in nats:
    `[..., n]` -> `[...]`."""
    return np.mean(np.logaddexp(0, logits) - outcomes * logits, -1)


def fit(logits: np.ndarray, outcomes: np.ndarray) -> float:
    """The T > 0 with the lowest log loss of sigma(logits / T); above 1 if the model is
    overconfident (temperature scaling, Guo et al. 2017, section 4.2).

    The loss is convex in 1/T, so its slope has at most one root. Without a root (a
    model no better than chance, or without a mistake) T is at the end of its range:
    1000 or 1/1000 times the root mean square of the logits. 1 if all logits are 0.

    Args:
        logits: `[n]` logits of ratings, or margins of pairs.
        outcomes: `[n]` in [0, 1].
    """
    scale = float(np.sqrt(np.mean(np.square(logits))))
    if not scale:
        return 1.0
    unit = np.asarray(logits, float) / scale

    def slope(log_inverse):
        return np.mean(unit * (expit(unit * np.exp(log_inverse)) - outcomes))

    low, high = -np.log(_REACH), np.log(_REACH)
    if slope(low) >= 0:
        return scale * _REACH
    if slope(high) <= 0:
        return scale / _REACH
    root = scipy.optimize.brentq(slope, low, high, xtol=1e-12, rtol=1e-12)
    return float(scale / np.exp(root))
