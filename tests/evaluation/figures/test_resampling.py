import numpy as np
import pytest
import scipy.stats

from perl.evaluation.figures import resampling

RNG = np.random.default_rng(0)


def interval(x, *args, **kwargs):
    return resampling.bootstrap(resampling.mean(x), len(x), *args, **kwargs)


def test_bootstrap_of_a_mean_is_the_normal_interval():
    x = RNG.normal(3, 2, 400)
    low, high = interval(x)
    half = 1.96 * x.std() / 20
    assert low == pytest.approx(x.mean() - half, abs=0.03)
    assert high == pytest.approx(x.mean() + half, abs=0.03)


def test_bootstrap_is_scipys():
    x, y = RNG.normal(size=(2, 200))

    def covariance(x, y, axis=-1):
        return (x * y).mean(axis) - x.mean(axis) * y.mean(axis)

    def weighted(w):
        mean = [resampling.mean(z)(w) for z in (x * y, x, y)]
        return mean[0] - mean[1] * mean[2]

    want = scipy.stats.bootstrap(
        (x, y), covariance, paired=True, method='percentile', n_resamples=9999, rng=1
    ).confidence_interval
    got = resampling.bootstrap(weighted, 200, resamples=9999)
    np.testing.assert_allclose(got, want, atol=0.02)


@pytest.mark.parametrize('n', [10, 100])
def test_bootstrap_covers_as_often_as_it_says(n):
    hits = [
        low <= 0.7 <= high
        for seed in range(300)
        for x in [np.random.default_rng(seed).normal(0.7, 1, n)]
        for low, high in [interval(x, resamples=300)]
    ]
    assert 0.92 <= np.mean(hits) <= 0.98


@pytest.mark.parametrize('rows', [10, 30])
def test_bootstrap_draws_clusters(rows):
    """Rewards of a prompt are alike: drawn one by one they look surer than they are."""
    of_prompt = np.repeat(np.arange(20), rows)
    hits = {True: [], False: []}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = 0.5 * rng.normal(size=20)[of_prompt] + rng.normal(size=20 * rows)
        for clusters, found in hits.items():
            low, high = interval(x, of_prompt if clusters else None, resamples=300)
            found.append(low <= 0 <= high)
    assert 0.92 <= np.mean(hits[True]) <= 0.98
    assert np.mean(hits[False]) < 0.85


def test_clusters_may_differ_in_size_and_have_any_names():
    x = RNG.normal(size=30)
    names = ['a'] * 20 + ['b'] * 6 + ['c'] * 4
    numbers = np.array([5] * 20 + [9] * 6 + [1] * 4)
    assert interval(x, names) == interval(x, numbers)
    assert np.isnan(interval(x, ['a'] * 30)).all()
    with pytest.raises(ValueError, match='2 clusters for 30 rows'):
        interval(x, ['a', 'b'])


def test_bootstrap_is_reproducible_and_does_not_depend_on_its_rounds(monkeypatch):
    x = RNG.normal(size=50)
    want = interval(x, seed=3)
    assert interval(x, seed=3) == want
    assert interval(x, seed=4) != want
    monkeypatch.setattr(resampling, '_ROUND', 50 * 7)
    # to rounding: how a product is summed depends on its shape
    assert interval(x, seed=3) == pytest.approx(want, rel=1e-12)


def test_bootstrap_leaves_out_undefined_resamples():
    def inverse(values):
        def statistic(w):
            total = w @ values
            return np.where(total > 0, 1 / np.maximum(total, 1), np.nan)

        return statistic

    some = resampling.bootstrap(inverse(np.array([0.0, 0, 1])), 3)
    assert np.isfinite(some).all()
    assert np.isnan(resampling.bootstrap(inverse(np.zeros(3)), 3)).all()
    assert np.isnan(interval(np.zeros(0))).all()


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = RNG.normal(size=40)
    got = resampling.jackknife(resampling.mean(x), 40)
    assert got == pytest.approx(x.var(ddof=1) / 40)
    of_prompt = np.repeat(np.arange(8), 5)
    means = x.reshape(8, 5).mean(1)
    got = resampling.jackknife(resampling.mean(x), 40, of_prompt)
    assert got == pytest.approx(means.var(ddof=1) / 8)


def test_the_jackknife_of_many_leaves_out_blocks(monkeypatch):
    x = RNG.normal(size=3000)
    whole = x.var(ddof=1) / 3000
    assert resampling.jackknife(resampling.mean(x), 3000) == pytest.approx(
        whole, rel=0.15
    )
    monkeypatch.setattr(resampling, '_BLOCKS', 3000)
    assert resampling.jackknife(resampling.mean(x), 3000) == pytest.approx(whole)
