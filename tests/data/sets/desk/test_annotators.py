"""Annotators scatter about the weights, flip as often as told, and are pure."""

import numpy as np
import pytest

from perl.data.sets.desk import annotators
from perl.system.errors import UserError

WEIGHTS = (0.5, 0.25, 0.1, 0.15)
BETTER, WORSE = np.array([1, 1, 1, 1]), np.array([0.5, 1, 0, 0])


def share(pool, first=BETTER, second=WORSE, n=2000):
    return np.mean([pool.prefers_first(i, first, second) for i in range(n)])


def test_weights_are_shares_about_the_given():
    pool = annotators.pool(WEIGHTS, count=4000, agreement=10)
    assert pool.weights.shape == (4000, 4)
    np.testing.assert_allclose(pool.weights.sum(1), 1)
    np.testing.assert_allclose(pool.weights.mean(0), WEIGHTS, atol=0.02)
    alike = annotators.pool(WEIGHTS, count=4000, agreement=1000)
    assert alike.weights.std() < pool.weights.std()


@pytest.mark.parametrize('flip', [0.0, 0.25, 0.5])
def test_flip_rate(flip):
    assert abs(share(annotators.pool(WEIGHTS, flip=flip)) - (1 - flip)) < 0.03


def test_order_of_the_two_does_not_matter():
    pool = annotators.pool(WEIGHTS, flip=0.25)
    for i in range(50):
        forwards = pool.prefers_first(i, BETTER, WORSE)
        assert forwards != pool.prefers_first(i, WORSE, BETTER)


def test_annotators_disagree_where_aspects_conflict():
    slots, manners = np.array([1, 0, 1, 1]), np.array([0.4, 1, 1, 1])
    disputed = share(annotators.pool(WEIGHTS, flip=0.0), slots, manners)
    assert 0.05 < disputed < 0.95


def test_ties_are_tossed():
    assert abs(share(annotators.pool(WEIGHTS), BETTER, BETTER) - 0.5) < 0.04


def test_labels_are_pure():
    labels = [annotators.pool(WEIGHTS, seed=3).prefers_first(7, BETTER, WORSE)] * 2
    assert labels[0] == labels[1]
    one, two = (annotators.pool(WEIGHTS, seed=s).weights for s in (3, 4))
    assert (one != two).any()


@pytest.mark.parametrize('bad', [{'count': 0}, {'flip': 0.6}, {'agreement': 0}])
def test_out_of_range(bad):
    with pytest.raises(UserError, match='annotators'):
        annotators.pool(WEIGHTS, **bad)
