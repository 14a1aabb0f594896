import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.evaluation.figures import best_of_n_estimate
from perl.system.errors import UserError

RNG = np.random.default_rng(0)


@given(st.integers(1, 7), st.integers(0, 5))
def test_the_estimator_is_the_mean_over_all_subsets(n, seed):
    rng = np.random.default_rng(seed)
    proxy, gold = rng.normal(size=(2, 3, 7))
    got = best_of_n_estimate.best_of_n(proxy, gold, n)
    want = [
        np.mean(
            [
                g[max(rows, key=p.__getitem__)]
                for rows in itertools.combinations(range(7), n)
            ]
        )
        for p, g in zip(proxy, gold, strict=True)
    ]
    np.testing.assert_allclose(got, want)


@pytest.mark.parametrize('n', [1, 2, 3, 4])
def test_equal_proxies_toss_for_it(n):
    proxy, gold = np.array([1.0, 2, 2, 0]), np.array([5.0, 1, 3, 9])

    def chosen(rows):
        best = proxy[list(rows)].max()
        return np.mean([gold[i] for i in rows if proxy[i] == best])

    want = np.mean([chosen(rows) for rows in itertools.combinations(range(4), n)])
    got = best_of_n_estimate.best_of_n(proxy[None], gold[None], n)
    assert got == pytest.approx([want])


def test_one_of_one_is_the_mean_and_all_is_the_best():
    proxy, gold = RNG.normal(size=(2, 4, 50))
    np.testing.assert_allclose(
        best_of_n_estimate.best_of_n(proxy, gold, 1), gold.mean(1)
    )
    np.testing.assert_allclose(
        best_of_n_estimate.best_of_n(proxy, proxy, 50), proxy.max(1)
    )
    curve = best_of_n_estimate.best_of_n_curve(proxy, proxy, [1, 2, 50])
    assert curve.shape == (4, 3) and (curve[:, 0] == 0).all()
    assert (np.diff(curve) > 0).all()


def test_the_estimator_is_unbiased_and_the_kl_is_right():
    """Best of n of a uniform variable is Beta(n, 1): mean n / (n + 1), and its KL to
    the uniform is the mean of log n + (n - 1) log u."""
    u = np.random.default_rng(1).random((4000, 8))
    got = best_of_n_estimate.best_of_n(u, u, 4)
    assert got.mean() == pytest.approx(4 / 5, abs=0.005)
    best = u[:, :4].max(1)
    assert best_of_n_estimate.best_of_n_kl(4) == pytest.approx(
        np.mean(np.log(4) + 3 * np.log(best)), abs=0.02
    )
    np.testing.assert_allclose(
        best_of_n_estimate.best_of_n_kl([1, 2]), [0, np.log(2) - 0.5]
    )


@pytest.mark.parametrize('n', [0, 4])
def test_bad_input_is_one_clear_line(n):
    with pytest.raises(UserError, match=f'best of {n}'):
        best_of_n_estimate.best_of_n(np.ones((2, 3)), np.ones((2, 3)), n)
    with pytest.raises(UserError, match='shape'):
        best_of_n_estimate.best_of_n(np.ones((2, 3)), np.ones((3, 2)), 1)
