import numpy as np
import pytest

from perl.evaluation.figures import over_optimisation
from perl.evaluation.figures.over_optimisation import Fit

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
    columns = [d, -(d**2)] if form == 'best_of_n' else [d, -d * np.log(d), d**0]
    want = np.linalg.lstsq(np.stack(columns, 1), r.T, rcond=None)[0]
    got = over_optimisation.fit(form, d, r)
    parts = [got.alpha, got.beta, got.start][: len(columns)]
    np.testing.assert_allclose(parts, want)
    times = RNG.integers(0, 5, 11)
    copied = over_optimisation.fit(form, np.repeat(d, times), np.repeat(r, times, 1))
    weighted = over_optimisation.fit(form, d, r, times)
    np.testing.assert_allclose(weighted.beta, copied.beta)


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


@pytest.mark.parametrize('form, beta', [('best_of_n', 0.3), ('rl', 0.5)])
@pytest.mark.parametrize('prompts', [False, True])
def test_intervals_cover_the_truth(form, beta, prompts):
    kl = np.linspace(0.2, 40, 40)
    exact = reward(form, 1.0, beta, np.sqrt(kl))
    size = (60, 40) if prompts else 40
    noise = np.random.default_rng(3).normal(0, 0.05, size)
    got = over_optimisation.fit_metrics(form, kl, exact + noise)
    for name, truth in (('alpha', 1.0), ('beta', beta)):
        low, high = got['ci95'][name]
        assert low < got[name] < high
        assert low - 0.01 < truth < high + 0.01
    low, high = got['ci95']['peak']
    truth = 0.5 / beta if form == 'best_of_n' else np.exp(1 / beta - 1)
    assert 0 < low < got['peak'] < high
    assert 0.99 * low < truth < 1.01 * high < 2 * truth
    assert got['peak_kl'] == got['peak'] ** 2
    assert got['r2'] > 0.9 and got['farthest'] == pytest.approx(np.sqrt(40))


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


def test_where_rl_starts_is_fitted():
    """An offset of all rewards, as that of a noisy first batch, moves nothing else."""
    kl = np.linspace(0.2, 20, 40)
    values = reward('rl', 1.0, 0.3, np.sqrt(kl))
    got = over_optimisation.fit_metrics('rl', kl, values - 0.4)
    assert (got['alpha'], got['beta']) == (pytest.approx(1), pytest.approx(0.3))
    assert got['start'] == pytest.approx(-0.4)
    peak = np.exp(1 / 0.3 - 1)
    assert got['highest'] == pytest.approx(reward('rl', 1.0, 0.3, peak))


@pytest.mark.parametrize('alike', [0, 0.5])
def test_a_known_law_of_rl_is_covered(alike):
    """Also where neighbouring iterations have like errors."""
    hits, truth = [], {'alpha': 1.0, 'beta': 0.4, 'peak': np.exp(1 / 0.4 - 1)}
    for seed in range(80):
        rng = np.random.default_rng(seed)
        kl = np.linspace(0, 15, 80) * rng.uniform(0.8, 1.2, 80)
        noise, error = np.zeros(80), rng.normal(0, 0.15)
        for i, new in enumerate(rng.normal(0, 0.15, 80)):
            error = noise[i] = alike * error + np.sqrt(1 - alike**2) * new
        values = 0.7 + reward('rl', 1.0, 0.4, np.sqrt(kl)) + noise
        ends = over_optimisation.fit_metrics('rl', kl, values, seed=seed)['ci95']
        hits.append([ends[x][0] <= truth[x] <= ends[x][1] for x in truth])
    assert np.all(np.mean(hits, 0) >= 0.93)


def test_prompts_of_one_dialog_widen_the_fit():
    kl = np.linspace(0.2, 20, 12)
    noise = np.random.default_rng(3).normal(0, 0.3, (20, 12))
    gains = reward('best_of_n', 1.0, 0.3, np.sqrt(kl)) + noise
    once, often, blind = (
        over_optimisation.fit_metrics('best_of_n', kl, *x)['ci95']['alpha']
        for x in (
            (gains,),
            (np.repeat(gains, 5, 0), np.repeat(np.arange(20), 5)),
            (np.repeat(gains, 5, 0),),
        )
    )
    assert often == pytest.approx(once)
    assert np.diff(blind) < 0.6 * np.diff(once)
