import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from perl.evaluation.figures import accuracy, intervals

RNG = np.random.default_rng(0)


def clustered(rng, prompts, rows, share, alike):
    """Outcomes 0 or 1 with a mean of `share`, of which those of a prompt have the
    correlation `alike` (beta-binomial); and the prompt of each."""
    a, b = share * (1 - alike) / alike, (1 - share) * (1 - alike) / alike
    of_prompt = np.repeat(np.arange(prompts), rows)
    chances = rng.beta(a, b, prompts)[of_prompt]
    return (rng.random(prompts * rows) < chances).astype(float), of_prompt


def coverage(truth, draws, interval):
    hits = []
    for seed in range(draws):
        low, high = interval(np.random.default_rng(seed))
        hits.append(low <= truth <= high)
    return np.mean(hits)


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


@pytest.mark.parametrize('wins, n', [(0, 7), (3, 7), (7, 7), (81, 100)])
def test_without_ties_tango_is_wilson(wins, n):
    for decided in (1.0, 1 - 1e-12):
        got = intervals.tango(wins / n, max(decided, abs(2 * wins / n - 1)), n)
        np.testing.assert_allclose(got, intervals.wilson(wins, n), atol=1e-9)


def test_tango_by_hand():
    """All ties: the largest lead u for which n ties are not too unlikely has
    n u = z sqrt(n u (1 - u)), which is the upper end of Wilson's 0 of n."""
    u = intervals.wilson(0, 40)[1]
    np.testing.assert_allclose(intervals.tango(0.5, 0, 40), [0.5 - u / 2, 0.5 + u / 2])


def test_tango_of_the_paper():
    """Tango 1998, table III: 44 pairs, 1 against 0 discordant: [-0.0569, 0.1185] is
    the score interval of the difference for b = 1, c = 0, n = 44, in both orders."""
    low, high = intervals.tango((1 + 1 / 44) / 2, 1 / 44, 44)
    other = intervals.tango((1 - 1 / 44) / 2, 1 / 44, 44)
    np.testing.assert_allclose([1 - high, 1 - low], other, atol=1e-9)
    assert 2 * low - 1 < 1 / 44 < 2 * high - 1

    def z(lead):  # the score statistic by the constrained maximum likelihood
        grid = np.linspace(max(0, -lead), (1 - lead) / 2, 200_001)[1:-1]
        likelihood = np.log(grid + lead) + 43 * np.log(1 - 2 * grid - lead)
        lost = grid[np.argmax(likelihood)]
        return (1 - 44 * lead) / np.sqrt(44 * (2 * lost + lead - lead**2))

    assert z(2 * high - 1) == pytest.approx(-1.96, abs=0.01)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=30))
@example([0.0] * 7)
def test_shares_hold_their_mean_and_turn_round(outcomes):
    x = np.array(outcomes)
    low, high = intervals.share(x)
    assert 0 <= low <= x.mean() <= high <= 1 and low < high
    np.testing.assert_allclose(intervals.share(1 - x), (1 - high, 1 - low), atol=1e-9)


def test_all_of_twenty_is_not_certain():
    low, high = intervals.share(np.ones(20))
    assert (low, high) == (pytest.approx(0.8389, abs=1e-4), 1)
    assert intervals.share(np.zeros(20)) == (0, pytest.approx(0.1611, abs=1e-4))


def test_rows_of_one_prompt_are_one_observation():
    """However many they are."""
    few, many = (
        intervals.share(np.resize([1.0, 0, 1, 1, 0], n), ['p'] * n) for n in (10, 1000)
    )
    assert few == pytest.approx(many) == intervals.wilson(0.6, 1)


def test_copies_of_rows_leave_the_interval_alone():
    x = (RNG.random(60) < 0.6).astype(float)
    once = intervals.share(x, np.arange(60))
    often = intervals.share(np.repeat(x, 10), np.repeat(np.arange(60), 10))
    assert np.diff(often) == pytest.approx(np.diff(once), rel=0.05)
    assert np.diff(intervals.share(np.repeat(x, 10))) < 0.5 * np.diff(once)


def test_shares_of_pairs_vary_less_than_pairs():
    """A comparison with four pairs half of which are always right."""
    right = np.resize([1.0, 0.5], 50)
    want = intervals.share(np.resize([1.0, 0], 50))
    assert np.diff(intervals.share(right)) == pytest.approx(np.diff(want) / 2, rel=0.2)


@pytest.mark.parametrize(
    'prompts, rows, share, alike',
    [(20, 10, 0.6, 0.3), (20, 30, 0.6, 0.3), (40, 10, 0.95, 0.3), (25, 10, 0.8, 0.02)],
)
def test_clustered_shares_are_covered_as_often_as_said(prompts, rows, share, alike):
    def interval(rng, clusters=True):
        x, of_prompt = clustered(rng, prompts, rows, share, alike)
        return intervals.share(x, of_prompt if clusters else None)

    assert 0.92 <= coverage(share, 400, interval) <= 0.99
    if alike > 0.1:
        assert coverage(share, 400, lambda rng: interval(rng, False)) < 0.85


@pytest.mark.parametrize('n, share', [(20, 0.95), (20, 0.5), (100, 0.99)])
def test_shares_are_covered_at_the_edge(n, share):
    """Exactly, by going through all numbers of wins."""
    chances = scipy.stats.binom.pmf(np.arange(n + 1), n, share)
    ends = [intervals.share(np.arange(n) < wins) for wins in range(n + 1)]
    covers = [low <= share <= high for low, high in ends]
    assert 0.92 <= chances @ covers <= 0.98


def test_ties_narrow_the_interval_and_it_still_covers():
    def outcomes(rng):
        return rng.choice([0, 0.5, 1], 100, p=[0.1, 0.75, 0.15])

    assert 0.92 <= coverage(0.525, 400, lambda r: intervals.share(outcomes(r))) <= 0.98
    x = np.repeat([0, 0.5, 1], [10, 75, 15])
    wilson = intervals.wilson(x.sum(), 100)
    assert np.diff(intervals.share(x)) == pytest.approx(np.diff(wilson) / 2, rel=0.1)


def test_an_auc_is_covered_by_dialog():
    """Ratings of a dialog share much of their label and of their score."""

    def interval(rng, clusters=True):
        of_dialog = np.repeat(np.arange(30), 8)
        labels, scores = (
            0.8 * rng.normal(size=30)[of_dialog] + 0.6 * rng.normal(size=240)
            for _ in range(2)
        )
        good = labels > 0.5
        scores = scores + good
        return intervals.bounded(
            lambda w: accuracy.auc(scores, good, w),
            240,
            of_dialog if clusters else None,
        )

    truth = scipy.stats.norm.cdf(1 / np.sqrt(2))
    assert 0.91 <= coverage(truth, 200, interval) <= 0.99
    assert coverage(truth, 200, lambda rng: interval(rng, False)) < 0.85


def test_a_bounded_statistic_at_its_edge():
    """Twenty good ratings that all outscore two hundred bad ones."""
    labels = np.repeat([1.0, 0], [20, 200])
    low, high = intervals.bounded(
        lambda w: accuracy.auc(labels, labels, w), 220, fewest=20
    )
    assert (low, high) == intervals.wilson(20, 20)
    # what cannot vary has no interval
    same = intervals.bounded(lambda w: accuracy.auc(np.zeros(220), labels, w), 220)
    assert same == (0.5, 0.5)
    nothing = intervals.bounded(lambda w: np.nan * w.sum(-1), 220)
    assert np.isnan(nothing).all()


@pytest.mark.parametrize(
    'wins, losses, p',
    [(0, 0, 1), (3, 3, 1), (5, 0, 2 / 32), (0, 5, 2 / 32), (9, 1, 22 / 1024)],
)
def test_sign_test_by_hand(wins, losses, p):
    leads = [1.0] * wins + [-1.0] * losses + [0.0] * 3
    assert intervals.sign_test(leads) == pytest.approx(p, abs=1e-12)


def test_a_cluster_has_one_sign():
    leads = [1.0, 1, -1, -1, 1, 1, 0, 1]
    of_dialog = list('aaabbccd')
    # a and c win, b is a tie of one loss and one win, d wins
    assert intervals.sign_test(leads, of_dialog) == pytest.approx(2 / 8)
    assert intervals.sign_test(np.ones(100), ['one'] * 100) == 1
