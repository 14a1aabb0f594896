import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from perl.evaluation.figures import accuracy

RNG = np.random.default_rng(0)
SCORES = RNG.integers(-4, 5, 80) / 2.0  # many ties
LABELS = (RNG.random(80) < 0.8).astype(float)

ratings = st.lists(
    st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30
).filter(lambda rows: len({label for _, label in rows}) == 2)


def split(rows):
    scores, labels = zip(*rows, strict=True)
    return np.array(scores, float), np.array(labels, float)


@pytest.mark.parametrize('threshold', [0.0, 0.75])
def test_figures_are_sklearns(threshold):
    said = threshold < SCORES
    assert accuracy.accuracy(SCORES, LABELS, threshold) == pytest.approx(
        sklearn.metrics.accuracy_score(LABELS, said)
    )
    assert accuracy.balanced_accuracy(SCORES, LABELS, threshold) == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(LABELS, said)
    )
    assert accuracy.auc(SCORES, LABELS) == pytest.approx(
        sklearn.metrics.roc_auc_score(LABELS, SCORES)
    )


def test_figures_by_hand():
    scores, labels = np.array([2.0, 1.0, 1.0, -1.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert accuracy.auc(scores, labels) == (1 + 1 + 0.5 + 1) / 4
    assert accuracy.accuracy(scores, labels) == 0.75
    assert accuracy.balanced_accuracy(scores, labels) == (1 + 0.5) / 2


@settings(deadline=None, max_examples=50)
@given(ratings)
def test_auc_counts_pairs_and_forgets_monotone_maps(rows):
    scores, labels = split(rows)
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None]
    want = np.mean((pairs > 0) + (pairs == 0) / 2)
    assert accuracy.auc(scores, labels) == pytest.approx(want)
    assert accuracy.auc(np.exp(scores) + 3, labels) == pytest.approx(want)
    assert accuracy.auc(-scores, labels) == pytest.approx(1 - want)


@settings(deadline=None, max_examples=50)
@given(ratings)
def test_no_threshold_beats_the_best_one(rows):
    scores, labels = split(rows)
    best = accuracy.balanced_accuracy(
        scores, labels, accuracy.best_threshold(*split(rows))
    )
    for other in np.append(np.unique(scores) - 0.5, 9):
        tried = accuracy.balanced_accuracy(scores, labels, other)
        # Where no threshold beats chance it is 0, no better and no worse than others.
        assert best >= tried - 1e-12 or tried <= 0.5


def test_best_threshold_by_hand():
    scores, labels = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 0.0])
    assert accuracy.best_threshold(scores, labels) == 1.5
    assert accuracy.best_threshold(np.ones(4), labels) == 0
    assert accuracy.best_threshold(scores, np.ones(4)) == 0
    assert accuracy.best_threshold(-scores, labels) == 0


def test_weights_are_copies_of_rows():
    times = RNG.integers(0, 4, (3, 80))
    for figure in (accuracy.accuracy, accuracy.balanced_accuracy):
        want = [
            figure(np.repeat(SCORES, row), np.repeat(LABELS, row), 0.75)
            for row in times
        ]
        np.testing.assert_allclose(figure(SCORES, LABELS, 0.75, times), want)
    want = [accuracy.auc(np.repeat(SCORES, w), np.repeat(LABELS, w)) for w in times]
    np.testing.assert_allclose(accuracy.auc(SCORES, LABELS, times), want)
