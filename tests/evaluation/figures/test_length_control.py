import numpy as np
import pytest
import scipy.optimize
import sklearn.linear_model
from scipy.special import expit

from perl.evaluation.figures import length_control
from perl.evaluation.figures.intervals import share, wilson

RNG = np.random.default_rng(0)


def judged(n, theta, phi, shift, rng=RNG):
    """Verdicts of a judge who likes length, and the differences in length."""
    difference = rng.normal(shift, 1, n)
    x = np.tanh(difference / difference.std(ddof=1))
    return (rng.random(n) < expit(theta + phi * x)).astype(float), difference


def test_a_policy_that_only_writes_more():
    won, difference = judged(20_000, theta=0.0, phi=3.0, shift=1.0)
    assert won.mean() > 0.75
    assert length_control.controlled_rate(won, difference) == pytest.approx(
        0.5, abs=0.02
    )


def test_a_better_policy_that_writes_less():
    won, difference = judged(20_000, theta=1.0, phi=3.0, shift=-1.0)
    assert won.mean() < 0.45
    rate = length_control.controlled_rate(won, difference)
    assert rate == pytest.approx(expit(1), abs=0.02)


@pytest.mark.parametrize('ridge', [0.01, 5.0])
def test_the_fit_is_scikit_learns(ridge):
    won, difference = judged(200, 0.5, 1.0, 0.5)
    x = np.tanh(difference / difference.std(ddof=1))
    model = sklearn.linear_model.LogisticRegression(
        C=1 / ridge, fit_intercept=False, tol=1e-10, max_iter=1000
    ).fit(np.stack([np.ones(200), x], 1), won)
    got = length_control.fit(won, difference, ridge)
    np.testing.assert_allclose(got, model.coef_[0], rtol=1e-4)


def test_ties_are_half_a_win():
    won = np.array([1, 0.5, 0, 1, 0.5, 1.0])
    difference = np.array([3, 1, -2, -1, 0.5, 2])
    x = np.tanh(difference / difference.std(ddof=1))

    def loss(weights):
        z = weights[0] + weights[1] * x
        penalty = 0.005 * np.sum(weights**2)
        return np.sum(np.logaddexp(0, z) - won * z) + penalty

    want = scipy.optimize.minimize(loss, np.zeros(2), tol=1e-12).x
    np.testing.assert_allclose(length_control.fit(won, difference), want, atol=1e-4)


def test_many_fits_at_once_are_the_single_ones():
    rows = [judged(40, 0.3, 1.0, 0.2) for _ in range(5)]
    won, difference = map(np.array, zip(*rows, strict=True))
    got = length_control.controlled_rate(won, difference)
    want = [length_control.controlled_rate(*row) for row in rows]
    np.testing.assert_allclose(got, want)


def test_weights_are_copies_of_pairs():
    won, difference = judged(40, 0.3, 1.0, 0.2)
    times = RNG.integers(0, 4, (3, 40))
    got = length_control.controlled_rate(won, difference, times)
    want = [
        length_control.controlled_rate(np.repeat(won, w), np.repeat(difference, w))
        for w in times
    ]
    np.testing.assert_allclose(got, want)


def test_prompts_of_one_dialog_widen_the_intervals():
    won, difference = judged(60, 0.3, 1.0, 0.2)
    a, b = 50 + difference, np.full(60, 50.0)
    once = length_control.length_metrics(won, a, b)
    of_dialog = np.repeat(np.arange(60), 9)
    often = length_control.length_metrics(
        *(np.repeat(x, 9) for x in (won, a, b)), clusters=of_dialog
    )
    name = 'length_controlled_win_rate_ci95'
    assert np.diff(often[name]) == pytest.approx(np.diff(once[name]), rel=0.1)
    one = length_control.strata(won, a, b, ['dialog'] * 60)
    assert one[0]['win_rate_ci95'] == list(wilson(one[0]['win_rate'], 1))


def test_exchanging_the_sides():
    won, difference = judged(60, 0.5, 1.0, 0.3)
    a, b = (
        length_control.controlled_rate(*x)
        for x in ((won, difference), (1 - won, -difference))
    )
    assert a + b == pytest.approx(1)


def test_without_any_difference_it_is_the_plain_rate():
    won = np.array([1.0, 1, 1, 0])
    assert length_control.controlled_rate(won, np.zeros(4)) == pytest.approx(
        0.75, abs=1e-2
    )
    assert length_control.controlled_rate(np.ones(1), np.zeros(1)) > 0.9


@pytest.mark.parametrize('won', [np.ones(30), np.zeros(30), np.tile([1.0, 0], 15)])
def test_one_sided_verdicts_stay_finite(won):
    rate = length_control.controlled_rate(won, RNG.normal(size=30))
    assert rate == pytest.approx(won.mean(), abs=0.1)


def test_no_answer_where_one_side_is_always_longer():
    won, difference = judged(50, 0.0, 1.0, 0.0)
    assert np.isnan(length_control.controlled_rate(won, np.abs(difference) + 0.1))
    figures = length_control.length_metrics(won, np.full(50, 9), np.full(50, 3))
    assert np.isnan(figures['length_controlled_win_rate'])
    assert np.isnan(figures['length_controlled_win_rate_ci95']).all()
    assert figures['longer'] == 1


def test_the_interval_covers_the_rate():
    won, difference = judged(300, 0.0, 2.0, 0.8)
    figures = length_control.length_metrics(won, 50 + difference, np.full(300, 50))
    low, high = figures['length_controlled_win_rate_ci95']
    assert low < 0.5 < high < figures['win_rate']
    assert figures['length_effect'] == pytest.approx(2, abs=0.8)
    assert low < figures['length_controlled_win_rate'] < high


def test_strata_by_hand():
    a, b = np.array([10, 10, 10, 10, 5.0]), np.array([10, 9.5, 5, 20, 10.0])
    rows = length_control.strata(np.array([1, 0.5, 1, 0, 1]), a, b)
    assert [(row['length'], row['n'], row['win_rate']) for row in rows] == [
        ('shorter', 2, 0.5),
        ('alike', 2, 0.75),
        ('longer', 1, 1.0),
    ]
    assert rows[1]['win_rate_ci95'] == list(share([1, 0.5]))
    assert len(length_control.strata(np.ones(2), a[:2], b[:2])) == 1
