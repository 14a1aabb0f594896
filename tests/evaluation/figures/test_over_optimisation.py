import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.evaluation.figures import over_optimisation
from perl.evaluation.figures.over_optimisation import Fit
from perl.system.errors import UserError

RNG = np.random.default_rng(0)
KL = np.linspace(0, 20, 12)


def reward(form, alpha, beta, d):
    d = np.maximum(d, 1e-300)
    return d * (alpha - beta * (d if form == 'best_of_n' else np.log(d)))


@pytest.mark.parametrize('form', over_optimisation.FORMS)
@pytest.mark.parametrize('alpha, beta', [(1.0, 0.2), (0.3, 0.25), (0.5, -0.1)])
def test_an_exact_curve_is_recovered(form, alpha, beta):
    d = np.sqrt(KL)
    got = over_optimisation.fit(form, d, reward(form, alpha, beta, d))
    assert (got.alpha, got.beta) == (pytest.approx(alpha), pytest.approx(beta))
    np.testing.assert_allclose(got(d), reward(form, alpha, beta, d), atol=1e-12)


@pytest.mark.parametrize('form', over_optimisation.FORMS)
def test_the_fit_is_numpys_least_squares(form):
    d, r = np.sqrt(KL[1:]), RNG.normal(size=(3, 11))
    columns = [d, -(d**2) if form == 'best_of_n' else -d * np.log(d)]
    want = np.linalg.lstsq(np.stack(columns, 1), r.T, rcond=None)[0]
    got = over_optimisation.fit(form, d, r)
    np.testing.assert_allclose([got.alpha, got.beta], want)


@pytest.mark.parametrize('form', over_optimisation.FORMS)
@pytest.mark.parametrize('alpha, beta', [(1.0, 0.2), (0.3, 0.25)])
def test_the_peak_is_where_the_curve_is_highest(form, alpha, beta):
    curve = Fit(form, np.array(alpha), np.array(beta))
    d = np.linspace(0.001, 3 * float(curve.peak), 3000)
    highest = np.argmax(curve(d))
    assert curve.peak == pytest.approx(d[highest], rel=0.01)
    assert curve.highest == pytest.approx(curve(d)[highest], rel=1e-4)
    if form == 'best_of_n':
        assert curve.peak == pytest.approx(alpha / (2 * beta))


@pytest.mark.parametrize('form', over_optimisation.FORMS)
def test_a_curve_that_never_falls_has_no_peak(form):
    curve = Fit(form, np.array(1.0), np.array([-0.1, 0.0]))
    assert np.isinf(curve.peak).all() and np.isinf(curve.highest).all()


def test_points_that_determine_nothing():
    for d in ([], [0.0], [2.0, 2.0]):
        got = over_optimisation.fit('rl', np.array(d), np.ones(len(d)))
        assert np.isnan(got.alpha) and np.isnan(got.peak)
    figures = over_optimisation.fit_metrics('rl', [0.0, 0.01], [0.0, 0.1])
    assert figures['points'] == 0 and np.isnan(figures['alpha'])
    with pytest.raises(ValueError, match='not one of best_of_n, rl'):
        over_optimisation.fit('ppo', np.ones(3), np.ones(3))


@given(st.integers(1, 7), st.integers(0, 5))
def test_the_estimator_is_the_mean_over_all_subsets(n, seed):
    rng = np.random.default_rng(seed)
    proxy, gold = rng.normal(size=(2, 3, 7))
    got = over_optimisation.best_of_n(proxy, gold, n)
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
    got = over_optimisation.best_of_n(proxy[None], gold[None], n)
    assert got == pytest.approx([want])


def test_one_of_one_is_the_mean_and_all_is_the_best():
    proxy, gold = RNG.normal(size=(2, 4, 50))
    np.testing.assert_allclose(
        over_optimisation.best_of_n(proxy, gold, 1), gold.mean(1)
    )
    np.testing.assert_allclose(
        over_optimisation.best_of_n(proxy, proxy, 50), proxy.max(1)
    )
    curve = over_optimisation.best_of_n_curve(proxy, proxy, [1, 2, 50])
    assert curve.shape == (4, 3) and (curve[:, 0] == 0).all()
    assert (np.diff(curve) > 0).all()


def test_the_estimator_is_unbiased_and_the_kl_is_right():
    """Best of n of a uniform variable is Beta(n, 1): mean n / (n + 1), and its KL to
    the uniform is the mean of log n + (n - 1) log u."""
    u = np.random.default_rng(1).random((4000, 8))
    got = over_optimisation.best_of_n(u, u, 4)
    assert got.mean() == pytest.approx(4 / 5, abs=0.005)
    best = u[:, :4].max(1)
    assert over_optimisation.best_of_n_kl(4) == pytest.approx(
        np.mean(np.log(4) + 3 * np.log(best)), abs=0.02
    )
    np.testing.assert_allclose(
        over_optimisation.best_of_n_kl([1, 2]), [0, np.log(2) - 0.5]
    )


@pytest.mark.parametrize('n', [0, 4])
def test_bad_input_is_one_clear_line(n):
    with pytest.raises(UserError, match=f'best of {n}'):
        over_optimisation.best_of_n(np.ones((2, 3)), np.ones((2, 3)), n)
    with pytest.raises(UserError, match='shape'):
        over_optimisation.best_of_n(np.ones((2, 3)), np.ones((3, 2)), 1)


@pytest.mark.parametrize('form', over_optimisation.FORMS)
@pytest.mark.parametrize('prompts', [False, True])
def test_intervals_cover_the_truth(form, prompts):
    kl = np.linspace(0.2, 20, 40)
    exact = reward(form, 1.0, 0.3, np.sqrt(kl))
    size = (60, 40) if prompts else 40
    noise = np.random.default_rng(3).normal(0, 0.05, size)
    got = over_optimisation.fit_metrics(form, kl, exact + noise)
    for name, truth in (('alpha', 1.0), ('beta', 0.3)):
        low, high = got['ci95'][name]
        assert low < got[name] < high
        assert low - 0.01 < truth < high + 0.01
    low, high = got['ci95']['peak']
    truth = 0.5 / 0.3 if form == 'best_of_n' else np.exp(1 / 0.3 - 1)
    assert 0 < low < got['peak'] < high
    assert 0.99 * low < truth < 1.01 * high < 2 * truth
    assert got['peak_kl'] == got['peak'] ** 2
    assert got['r2'] > 0.9 and got['farthest'] == pytest.approx(np.sqrt(20))


def test_an_interval_may_reach_to_infinity():
    kl = np.linspace(0.2, 4, 30)
    noise = np.random.default_rng(0).normal(0, 0.2, 30)
    got = over_optimisation.fit_metrics('best_of_n', kl, np.sqrt(kl) + noise)
    low, high = got['ci95']['peak']
    assert 0 < low < high == np.inf


def test_points_near_the_origin_are_left_out_of_rl():
    kl = np.array([0.0, 0.05, -0.1, 0.5, 1.0, 4.0])
    values = reward('rl', 1.0, 0.3, np.sqrt(np.maximum(kl, 0)))
    values[:3] = 99
    got = over_optimisation.fit_metrics('rl', kl, values)
    assert got['points'] == 3
    assert (got['alpha'], got['beta']) == (pytest.approx(1), pytest.approx(0.3))
    assert got['r2'] == pytest.approx(1)
