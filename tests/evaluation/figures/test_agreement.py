import numpy as np
import pytest

from perl.evaluation.figures import accuracy, agreement, pairs
from perl.evaluation.figures.intervals import wilson
from perl.system.errors import UserError

RNG = np.random.default_rng(0)
SCORES = RNG.integers(-4, 5, 80) / 2.0  # many ties
LABELS = (RNG.random(80) < 0.8).astype(float)


def test_one_class_leaves_some_figures_undefined():
    figures = agreement.rating_metrics(SCORES, np.ones(80))
    assert np.isnan(figures['auc']) and np.isnan(figures['balanced_accuracy'])
    assert np.isnan(figures['ci95']['auc']).all()
    assert figures['accuracy'] == np.mean(SCORES > 0)


def test_rating_metrics():
    figures = agreement.rating_metrics(SCORES, LABELS, threshold=0.75)
    assert (figures['n'], figures['positives']) == (80, LABELS.sum())
    assert figures['accuracy'] == accuracy.accuracy(SCORES, LABELS)
    want = accuracy.balanced_accuracy(SCORES, LABELS, 0.75)
    assert figures['balanced_accuracy'] == want
    for name, (low, high) in figures['ci95'].items():
        assert low < figures[name] < high
    assert figures == agreement.rating_metrics(SCORES, LABELS, threshold=0.75)


def test_turns_of_one_dialog_widen_every_interval():
    """Ten copies of each rating, as one dialog, say no more than the rating."""
    one = agreement.rating_metrics(SCORES, LABELS)
    often, of_dialog = [np.repeat(x, 10) for x in (SCORES, LABELS)], np.arange(80)
    got = agreement.rating_metrics(*often, clusters=np.repeat(of_dialog, 10))
    assert (got['n'], got['clusters'], one['clusters']) == (800, 80, 80)
    for name, around in got['ci95'].items():
        assert got[name] == pytest.approx(one[name])
        assert np.diff(around) == pytest.approx(np.diff(one['ci95'][name]), rel=0.05)


def test_a_perfect_score_is_not_certain():
    labels = np.repeat([1.0, 0], [20, 200])
    got = agreement.rating_metrics(labels - 0.5, labels)
    assert got['ci95']['accuracy'] == list(wilson(220, 220))
    assert (
        got['ci95']['auc'] == got['ci95']['balanced_accuracy'] == list(wilson(20, 20))
    )


def compared(scores, preferences=None, clusters=None):
    return agreement.comparison_metrics(pairs.of_scores(scores, preferences), clusters)


def test_comparisons_by_hand():
    assert compared([[2.0, 1.0], [1.0, 1.0]])['accuracy'] == 0.75
    # 3 > 1 right, 3 > 2 right, 1 > 2 wrong.
    assert compared([[3.0, 1.0, 2.0]])['accuracy'] == pytest.approx(2 / 3)
    # a comparison counts one, however many pairs it has
    got = compared([np.array([3.0, 1.0, 2.0]), np.array([1.0, 0.0])])
    assert got['accuracy'] == pytest.approx((2 / 3 + 1) / 2)
    assert (got['n'], got['pairs']) == (2, 4)


def test_the_accuracy_of_a_ranking_is_kendalls_tau():
    scores = RNG.permuted(np.tile(np.arange(5.0), (20, 1)), axis=1)
    tau = [
        np.mean([np.sign(row[i] - row[j]) for i in range(5) for j in range(i + 1, 5)])
        for row in scores
    ]
    assert compared(scores)['accuracy'] == pytest.approx((1 + np.mean(tau)) / 2)


def test_comparison_metrics():
    scores = RNG.normal([0.5, 0, -0.5], 1, (60, 3))
    scores[0] = 1
    figures = compared(scores)
    assert (figures['n'], figures['pairs'], figures['clusters']) == (60, 180, 60)
    assert (figures['score_ties'], figures['labelled_ties']) == (3, 0)
    low, high = figures['ci95']['accuracy']
    assert 0.5 < low < figures['accuracy'] < high < 1


def test_a_preference_below_a_half_turns_the_pair_round():
    got = compared([[2.0, 1.0], [2.0, 1.0]], [0.3, 0.9])
    assert got['accuracy'] == 0.5 and got['labelled_ties'] == 0


def test_labelled_ties_are_not_half_right():
    """A model that is right on all 406 decided pairs has 100 %, not 91.3 %."""
    preferences = np.repeat([1.0, 0.5], [406, 85])
    scores = np.stack([np.ones(491), np.zeros(491)], 1)
    scores[-5:] = 0
    got = compared(scores, preferences)
    assert (got['accuracy'], got['n']) == (1.0, 406)
    assert got['ci95']['accuracy'] == list(wilson(406, 406))
    assert (got['labelled_ties'], got['score_ties']) == (85, 0)


def test_nothing_but_labelled_ties_has_no_accuracy():
    got = compared([[1.0, 0.0]] * 3, [0.5] * 3)
    assert (got['n'], got['pairs'], got['labelled_ties']) == (0, 0, 3)
    assert np.isnan(got['accuracy']) and np.isnan(got['ci95']['accuracy']).all()


def test_many_comparisons_of_one_prompt_are_one_observation():
    scores = np.where(np.arange(400)[:, None] % 5 < 3, [[1.0, 0.0]], [[0.0, 1.0]])
    got = compared(scores, clusters=['prompt'] * 400)
    assert got['ci95']['accuracy'] == list(wilson(0.6, 1))
    assert np.diff(compared(scores)['ci95']['accuracy']) < 0.1


def test_the_interval_draws_comparisons_and_not_pairs():
    """Ten copies of each prompt's verdict as pairs must not narrow the interval."""
    right = RNG.normal(size=50) < 0.5
    two = np.where(right[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
    many = np.where(right[:, None], [[1.0, 0, 0, 0]], [[0.0, 1, 1, 1]])
    one, other = (compared(x)['ci95']['accuracy'] for x in (two, many))
    # Four completions: 3 right and 3 ties, or 3 wrong and 3 ties: half the spread.
    np.testing.assert_allclose(np.diff(other), np.diff(one) / 2, rtol=0.05)


@pytest.mark.parametrize(
    'measure, message',
    [
        (lambda: agreement.rating_metrics([], []), 'empty'),
        (lambda: agreement.rating_metrics([1.0, 2.0], [1.0]), '2 scores for 1 labels'),
        (lambda: agreement.rating_metrics([1.0, np.nan], [1.0, 0]), '1 of 2 .* row 1'),
        (lambda: compared([]), 'empty'),
        (lambda: compared([[1.0, np.inf]]), 'row 0'),
    ],
)
def test_bad_input_is_one_clear_line(measure, message):
    with pytest.raises(UserError, match=message) as error:
        measure()
    assert '\n' not in str(error.value)
