"""Logistic regression with a ridge penalty, for sparse features."""

import numpy as np
import scipy.optimize
import scipy.sparse
from scipy.special import expit


def fit(
    x: scipy.sparse.sparray | np.ndarray,
    y: np.ndarray,
    strength: float = 1.0,
    intercept: bool = True,
) -> tuple[np.ndarray, float]:
    """Coefficients `[features]` and intercept with the lowest penalised loss.

    The loss is strength * (summed log loss) + |coefficients|^2 / 2, as in
    scikit-learn's `LogisticRegression(C=strength)`; the intercept has no penalty.

    Args:
        x: `[n, features]`.
        y: `[n]` in [0, 1], labels or probabilities.
        strength: the inverse of the regularisation strength.
        intercept: whether to fit an intercept.
    """
    x = scipy.sparse.csr_array(x)
    transposed = x.T.tocsr()

    penalty = np.append(np.ones(x.shape[1]), 0.0)

    def loss(weights):
        z = x @ weights[:-1] + weights[-1]
        residual = strength * (expit(z) - y)
        total = strength * np.sum(np.logaddexp(0, z) - y * z)
        slope = np.append(transposed @ residual, residual.sum() * intercept)
        return total + penalty @ weights**2 / 2, slope + penalty * weights

    def curvature(weights, step):
        p = expit(x @ weights[:-1] + weights[-1])
        change = strength * p * (1 - p) * (x @ step[:-1] + step[-1] * intercept)
        return np.append(transposed @ change, change.sum() * intercept) + penalty * step

    solved = scipy.optimize.minimize(
        loss,
        np.zeros(x.shape[1] + 1),
        jac=True,
        hessp=curvature,
        method='Newton-CG',
        options={'xtol': 1e-5},
    ).x
    return solved[:-1], float(solved[-1])
