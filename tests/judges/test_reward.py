"""Rewards, the preferences they give, and what becomes of a missing verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl import judges
from perl.judges.reward import training_rewards
from perl.system.errors import UserError

texts = st.text('x', max_size=3)


def size(prompts, responses):
    return [len(response) for response in responses]


def scoring(*rewards):
    """A judge that gives these rewards, whatever it is asked."""
    return judges.Judge('mine', None, lambda *_: np.array(rewards))


def test_the_higher_reward_is_preferred():
    a, b = ['xxx', 'xx', 'x', ''], ['x', 'xx', 'xx', 'x']
    got = judges.preference(size)(list('pqrs'), a, b)
    assert got.tolist() == [1, 0.5, 0, 0]


@given(st.lists(st.tuples(texts, texts), min_size=1))
def test_exchanging_the_two_exchanges_the_preference(pairs):
    a, b = map(list, zip(*pairs, strict=True))
    prefer, prompts = judges.preference(size), ['p'] * len(a)
    np.testing.assert_array_equal(prefer(prompts, a, b), 1 - prefer(prompts, b, a))


def test_no_verdict_on_one_is_no_verdict_on_the_pair():
    rewards = {'a': 1.0, 'b': np.nan, 'c': np.inf, 'd': np.inf}
    prefer = judges.preference(judges.each(lambda prompt, text: rewards[text]))
    got = prefer('pppp', 'abca', 'bacc')
    np.testing.assert_array_equal(got, [np.nan, np.nan, 0.5, 0])


def test_each_text_is_scored_once():
    asked = []

    def score(prompts, responses):
        asked.extend(zip(prompts, responses, strict=True))
        return size(prompts, responses)

    a, b = ['xx', 'x', 'x'], ['x', 'x', 'xx']
    judges.both_orders(judges.preference(score), ['p', 'p', 'q'], a, b)
    assert sorted(asked) == [('p', 'x'), ('p', 'xx'), ('q', 'x'), ('q', 'xx')]


def test_one_after_the_other():
    reward = judges.each(lambda prompt, response: float(prompt in response))
    got = reward(['a', 'b'], ['cat', 'dog'])
    assert got.dtype == np.float64 and got.tolist() == [1, 0]
    assert reward([], []).shape == (0,)


def test_a_missing_verdict_is_neither_better_nor_worse():
    got, missing = training_rewards(scoring(0.5, np.nan, -1.0), 'xyz', 'abc')
    assert got.dtype == np.float32 and got.tolist() == [0.5, -0.25, -1]
    assert missing == pytest.approx(1 / 3)
    got, missing = training_rewards(scoring(0.5, 1.0), 'xy', 'ab')
    assert (got.tolist(), missing) == ([0.5, 1.0], 0)


@pytest.mark.parametrize('rewards', [(0.5, np.nan), (np.nan, np.nan)])
def test_too_few_verdicts(rewards):
    with pytest.raises(UserError, match=r'mine: it scored only [01] of 2 responses'):
        training_rewards(scoring(*rewards), 'xy', 'ab')


def test_a_judge_that_only_compares_has_no_reward():
    judge = judges.Judge('annotators', lambda *_: np.zeros(2))
    with pytest.raises(UserError, match='annotators compares two responses'):
        judges.scores(judge)
