"""Both orders, averaged or compared: laws that hold for any judge."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl import judges
from perl.system.errors import UserError

texts = st.lists(st.tuples(*[st.text('abc', max_size=3)] * 3), min_size=1)


def whimsy(prompts, firsts, seconds):
    """Any number in [0, 1], which depends on the order, and sometimes none."""

    def of(*row):
        number = int(hashlib.sha256(repr(row).encode()).hexdigest()[:16], 16)
        return np.nan if number % 7 == 0 else number / 16**16

    return np.array(list(map(of, prompts, firsts, seconds)))


def first_place(prompts, firsts, seconds):
    return np.full(len(prompts), 0.9)


def preferences(judge, *columns):
    return judges.both_orders(judge, *columns).preferences


@given(texts)
def test_exchanging_the_two_gives_exactly_the_rest(rows):
    prompts, a, b = map(list, zip(*rows, strict=True))
    one, other = preferences(whimsy, prompts, a, b), preferences(whimsy, prompts, b, a)
    assert (other == 1 - one).all() and (one == 1 - other).all()
    assert ((one >= 0) & (one <= 1)).all()
    same = [x == y for x, y in zip(a, b, strict=True)]
    assert (one[same] == 0.5).all()


@given(texts)
def test_exchanging_the_two_exchanges_who_won(rows):
    prompts, a, b = map(list, zip(*rows, strict=True))
    one, other = (judges.both_orders(whimsy, prompts, *ab) for ab in ((a, b), (b, a)))
    assert (one.won == 1 - other.won).all()
    assert (one.biased == other.biased).all()
    assert not (one.biased & (one.won != 0.5)).any()


def test_mean_of_both_orders_by_hand():
    answers = {('a', 'b'): 0.9, ('b', 'a'): 0.3, ('c', 'd'): 0.8, ('d', 'c'): 0.7}

    def judge(prompts, firsts, seconds):
        pairs = zip(firsts, seconds, strict=True)
        return [answers.get(pair, np.nan) for pair in pairs]

    got = judges.both_orders(judge, 'xyz', ['a', 'c', 'e'], ['b', 'd', 'f'])
    # (0.9 + (1 - 0.3)) / 2; the first place won twice, with 0.8 and 0.7; no verdict
    np.testing.assert_allclose(got.preferences, [0.8, 0.55, 0.5], atol=1e-9)
    assert got.known.tolist() == [True, True, False]
    assert got.biased.tolist() == [False, True, False] and got.position_bias == 0.5
    assert got.won.tolist() == [1, 0.5, 0.5] and got.unanswered == 2


def test_one_order_alone_is_no_label():
    def judge(prompts, firsts, seconds):
        return [1.0 if first == 'a' else np.nan for first in firsts]

    got = judges.both_orders(judge, 'x', 'a', 'b')
    assert got.preferences == 0.5 and not got.known.any() and got.position_bias == 0
    assert got.won == 0.5 and got.unanswered == 1


def test_position_bias_cancels():
    got = judges.both_orders(first_place, list('xyz'), 'abc', 'def')
    assert (got.preferences == 0.5).all() and (got.won == 0.5).all()
    assert got.position_bias == 1.0


@pytest.mark.parametrize('verdict, bias', [(1.0, True), (0.0, True), (0.5, False)])
def test_a_judge_that_looks_at_places_only_sees_ties(verdict, bias):
    got = judges.both_orders(lambda p, *_: np.full(len(p), verdict), *['abcde'] * 3)
    assert (got.won == 0.5).all() and (got.biased == bias).all()


def test_a_win_in_one_order_and_a_tie_in_the_other_is_a_tie():
    answers = np.array([1.0, 0.5, 0.0, 0.5, 1.0, 0.5])
    got = judges.both_orders(lambda *_: answers, *['abc'] * 3)
    assert got.won.tolist() == [0.5] * 3 and not got.biased.any()


def test_a_judge_that_is_not_sure():
    def judge(prompts, firsts, seconds):
        pairs = zip(firsts, seconds, strict=True)
        return [0.7 if len(a) > len(b) else 0.2 for a, b in pairs]

    a, b = ['aaa', 'a', 'aa'], ['b', 'bb', 'bb']
    assert judges.both_orders(judge, list('xyz'), a, b).won.tolist() == [1, 0, 0.5]


@pytest.mark.parametrize('bad', [[1.2, 0.5], [-0.1, 0.5], [0.5], [[0.5, 0.5]]])
def test_no_probabilities(bad):
    with pytest.raises(UserError, match='labels: the judge answered 2 questions'):
        judges.both_orders(lambda *_: bad, ['x'], ['a'], ['b'])


def test_lengths_differ():
    with pytest.raises(UserError, match='2 prompts with 1 and 2 responses'):
        judges.both_orders(whimsy, 'xy', 'a', 'bc')


def test_nothing_to_label():
    got = judges.both_orders(whimsy, [], [], [])
    assert got.preferences.shape == (0,) and got.position_bias == 0
