import numpy as np
import pytest
import scipy.stats

from perl.evaluation.figures import intervals

RNG = np.random.default_rng(0)


def mean(x):
    return x.mean(-1)


def test_bootstrap_of_a_mean_is_the_normal_interval():
    x = RNG.normal(3, 2, 400)
    low, high = intervals.bootstrap(mean, x)
    half = 1.96 * x.std() / 20
    assert low == pytest.approx(x.mean() - half, abs=0.03)
    assert high == pytest.approx(x.mean() + half, abs=0.03)


def test_bootstrap_is_scipys():
    x, y = RNG.normal(size=(2, 60))

    def covariance(x, y, axis=-1):
        return (x * y).mean(axis) - x.mean(axis) * y.mean(axis)

    want = scipy.stats.bootstrap(
        (x, y), covariance, paired=True, method='percentile', n_resamples=9999, rng=1
    ).confidence_interval
    got = intervals.bootstrap(covariance, x, y, resamples=9999)
    np.testing.assert_allclose(got, want, atol=0.02)


def test_bootstrap_covers_as_often_as_it_says():
    hits = [
        low <= 0.7 <= high
        for seed in range(200)
        for x in [np.random.default_rng(seed).random(100) < 0.7]
        for low, high in [intervals.bootstrap(mean, x, resamples=300)]
    ]
    assert 0.88 <= np.mean(hits) <= 0.99


def test_bootstrap_is_reproducible_and_does_not_depend_on_its_rounds(monkeypatch):
    x = RNG.normal(size=50)
    want = intervals.bootstrap(mean, x, seed=3)
    assert intervals.bootstrap(mean, x, seed=3) == want
    assert intervals.bootstrap(mean, x, seed=4) != want
    monkeypatch.setattr(intervals, '_ROUND', 50 * 7)
    assert intervals.bootstrap(mean, x, seed=3) == want


def test_bootstrap_leaves_out_undefined_resamples():
    def inverse(x):
        return np.where(x.sum(-1) > 0, 1 / np.maximum(x.sum(-1), 1), np.nan)

    assert np.isfinite(intervals.bootstrap(inverse, np.array([0, 0, 1]))).all()
    assert np.isnan(intervals.bootstrap(inverse, np.zeros(3))).all()
    assert np.isnan(intervals.bootstrap(mean, np.zeros(0))).all()


def test_bootstrap_wants_pairs():
    with pytest.raises(ValueError, match='lengths differ'):
        intervals.bootstrap(lambda x, y: x.mean(-1), np.ones(3), np.ones(4))


@pytest.mark.parametrize('wins, n', [(0, 7), (3, 7), (7, 7), (81, 100), (0, 0)])
def test_wilson_is_scipys(wins, n):
    if n == 0:
        assert intervals.wilson(wins, n) == (0, 1)
        return
    want = scipy.stats.binomtest(wins, n).proportion_ci(method='wilson')
    np.testing.assert_allclose(intervals.wilson(wins, n), want, atol=1e-12)


def test_wilson_takes_half_wins():
    low, high = intervals.wilson(2.5, 5)
    assert low + high == pytest.approx(1)
    assert 0.1 < low < 0.5 < high < 0.9


@pytest.mark.parametrize(
    'wins, losses, p',
    [(0, 0, 1), (3, 3, 1), (5, 0, 2 / 32), (0, 5, 2 / 32), (9, 1, 22 / 1024)],
)
def test_sign_test_by_hand(wins, losses, p):
    assert intervals.sign_test(wins, losses) == pytest.approx(p, abs=1e-12)
