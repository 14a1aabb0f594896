import numpy as np
import pytest

from perl.evaluation.figures import buckets
from perl.evaluation.figures.intervals import wilson

RNG = np.random.default_rng(0)


def test_groups_by_hand():
    rows = buckets.by_group([1, 0, 1, 1, 0.5], ['b', 'b', 'a', 'b', 'a'])
    assert [row['group'] for row in rows] == ['a', 'b']
    assert [row['n'] for row in rows] == [2, 3]
    assert [row['accuracy'] for row in rows] == [0.75, pytest.approx(2 / 3)]
    assert rows[1]['ci95'] == list(wilson(2, 3))


def test_groups_of_numbers_sort_as_numbers():
    rows = buckets.by_group([1, 1, 1], [10, 9, 0.5])
    assert [row['group'] for row in rows] == [0.5, 9, 10]


def test_groups_add_up_to_the_whole():
    right = RNG.random(200) < 0.7
    rows = buckets.by_group(right, RNG.integers(5, size=200).tolist())
    total = sum(row['n'] * row['accuracy'] for row in rows)
    assert total / 200 == pytest.approx(right.mean())
    with pytest.raises(ValueError, match='200 verdicts, 1 groups'):
        buckets.by_group(right, ['a'])


def test_margins_are_cut_into_equal_buckets():
    margins = RNG.permutation(100.0 + np.arange(100))
    right = margins >= 140
    rows = buckets.by_margin(right, margins, 5)
    assert [row['n'] for row in rows] == [20] * 5
    assert [row['accuracy'] for row in rows] == [0, 0, 1, 1, 1]
    assert [row['low'] for row in rows] == [100, 120, 140, 160, 180]
    assert rows[-1]['high'] == 199


def test_rows_of_one_cluster_are_one_observation():
    right, names = [1, 0, 1, 1] * 5, ['a'] * 20
    for rows in (
        buckets.by_group(right, names, clusters=['dialog'] * 20),
        buckets.by_margin(right, np.ones(20), clusters=['dialog'] * 20),
    ):
        assert rows[0]['ci95'] == list(wilson(0.75, 1)) and rows[0]['n'] == 20


def test_nothing_has_no_buckets():
    assert buckets.by_margin([], []) == buckets.by_group([], []) == []


@pytest.mark.parametrize('margins', [np.zeros(6), np.array([0.0, 0, 0, 0, 0, 1])])
def test_repeated_margins_share_a_bucket(margins):
    rows = buckets.by_margin(np.ones(6), margins, 5)
    assert [row['n'] for row in rows] == [6]
