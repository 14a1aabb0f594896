import numpy as np
import pytest
import scipy.sparse
import sklearn.linear_model

from perl.evaluation.figures import logistic

RNG = np.random.default_rng(0)
X = scipy.sparse.random_array((200, 60), density=0.1, rng=RNG, format='csr')
Y = (RNG.random(200) < 0.3).astype(float)


@pytest.mark.parametrize('strength', [0.1, 10.0])
@pytest.mark.parametrize('intercept', [True, False])
def test_it_is_scikit_learns(strength, intercept):
    model = sklearn.linear_model.LogisticRegression(
        C=strength, fit_intercept=intercept, tol=1e-10, max_iter=5000
    ).fit(X, Y)
    weights, constant = logistic.fit(X, Y, strength, intercept)
    np.testing.assert_allclose(weights, model.coef_[0], atol=1e-4)
    assert constant == pytest.approx(np.ravel(model.intercept_)[0], abs=1e-4)


def test_soft_labels_are_both_labels_in_part():
    soft, _ = logistic.fit(X, np.full(200, 0.25))
    both = scipy.sparse.vstack([X] * 4)
    hard, _ = logistic.fit(both, np.repeat([1.0, 0, 0, 0], 200), 0.25)
    np.testing.assert_allclose(soft, hard, atol=1e-4)
