import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.evaluation.figures import frontier

points = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12
)


@given(points)
def test_the_frontier_by_looking_at_every_pair(rows):
    kl, reward = np.array(rows, float).T
    want = [
        not any(
            k <= kl[i] and r >= reward[i] and (k < kl[i] or r > reward[i])
            for k, r in rows
        )
        for i in range(len(rows))
    ]
    np.testing.assert_array_equal(frontier.pareto(kl, reward), want)


@given(points)
def test_it_rises_and_its_frontier_is_itself(rows):
    found = frontier.frontier([{'kl': k, 'reward': r} for k, r in rows])
    kl, reward = ([row[name] for row in found] for name in ('kl', 'reward'))
    assert kl == sorted(kl) and reward == sorted(reward)
    assert frontier.frontier(found) == found
    assert max(reward) == max(r for _, r in rows)


def test_rows_without_the_reward_stay_out():
    rows = [{'kl': 1, 'reward': 2}, {'kl': 0}, {'kl': None, 'reward': 9}, {'reward': 9}]
    assert frontier.frontier(rows) == rows[:1]
    assert frontier.frontier(rows, 'gold') == []


def test_a_path_is_the_mean_of_neighbours():
    rows = [{'step': i + 1, 'kl': float(i), 'reward': 2.0 * i} for i in range(10)]
    rows[3]['gold'] = 1.0
    got = frontier.path(rows, points=5)
    assert [row['kl'] for row in got] == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert [row['reward'] for row in got] == [1, 5, 9, 13, 17]
    assert [row['step'] for row in got] == [2, 4, 6, 8, 10]
    assert sum(row['iterations'] for row in got) == 10
    assert all('gold' not in row for row in got), 'a mean of some is a mean of none'


@pytest.mark.parametrize('n', [0, 1, 3])
def test_a_short_path(n):
    rows = [{'step': i, 'kl': 1.0, 'reward': 0.0, 'gold': 0.5} for i in range(n)]
    got = frontier.path([*rows, {'step': 9, 'kl': None, 'reward': 1.0}])
    assert len(got) == n and all(row['gold'] == 0.5 for row in got)
