"""Both orders, averaged: laws of any labeller; judges, raters, rewards."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl import judges
from perl.evaluation.figures import winrate
from perl.judges.language.questions import HARMLESS, PAIRWISE, SCORE
from perl.system.errors import UserError

texts = st.lists(st.tuples(*[st.text('abc', max_size=3)] * 3), min_size=1)


def whimsy(prompts, firsts, seconds):
    """Any number in [0, 1], which minds the order, and sometimes none."""

    def of(*row):
        number = int(hashlib.sha256(repr(row).encode()).hexdigest()[:16], 16)
        return np.nan if number % 7 == 0 else number / 16**16

    return np.array(list(map(of, prompts, firsts, seconds)))


def first_place(prompts, firsts, seconds):
    return np.full(len(prompts), 0.9)


@given(texts)
def test_exchanging_the_two_gives_exactly_the_rest(rows):
    prompts, a, b = map(list, zip(*rows, strict=True))
    label = judges.labeller(whimsy)
    one, other = label(prompts, a, b), label(prompts, b, a)
    assert (other == 1 - one).all() and (one == 1 - other).all()
    assert ((one >= 0) & (one <= 1)).all()
    same = [x == y for x, y in zip(a, b, strict=True)]
    assert (one[same] == 0.5).all()


def test_mean_of_both_orders_by_hand():
    said = {('a', 'b'): 0.9, ('b', 'a'): 0.3, ('c', 'd'): 0.8, ('d', 'c'): 0.7}

    def ask(prompts, firsts, seconds):
        return [said.get(pair, np.nan) for pair in zip(firsts, seconds, strict=True)]

    got = judges.both_orders(ask, 'xyz', ['a', 'c', 'e'], ['b', 'd', 'f'])
    # (0.9 + (1 - 0.3)) / 2; the first place won twice, with 0.8 and 0.7; nothing said
    np.testing.assert_allclose(got.preferences, [0.8, 0.55, 0.5], atol=1e-9)
    assert got.known.tolist() == [True, True, False]
    assert got.position_bias == 0.5


def test_one_order_alone_is_no_label():
    def ask(prompts, firsts, seconds):
        return [1.0 if first == 'a' else np.nan for first in firsts]

    got = judges.both_orders(ask, 'x', 'a', 'b')
    assert got.preferences == 0.5 and not got.known.any() and got.position_bias == 0


def test_position_bias_cancels():
    prompts = list('xyz')
    assert (judges.labeller(first_place)(prompts, 'abc', 'def') == 0.5).all()
    got = winrate.win_rate(judges.Asking(first_place), prompts, 'abc', 'def')
    assert (got['ties'], got['position_bias']) == (3, 1.0)


def test_judge_says_one_half_or_none():
    verdicts = np.array([0.51, 0.5, 0.49, np.nan, 1.0, 0.0])
    judge = judges.Asking(lambda *_: verdicts)
    assert judge([''] * 6, [''] * 6, [''] * 6).tolist() == [1, 0.5, 0, 0.5, 1, 0]
    assert judge.unanswered == 1


def test_a_judge_in_a_win_rate():
    def ask(prompts, firsts, seconds):
        pairs = zip(firsts, seconds, strict=True)
        return [0.7 if len(a) > len(b) else 0.2 for a, b in pairs]

    a, b = ['aaa', 'a', 'aa'], ['b', 'bb', 'bb']
    got = winrate.win_rate(judges.Asking(ask), list('xyz'), a, b)
    assert (got['wins'], got['losses'], got['ties']) == (1, 1, 1)


@pytest.mark.parametrize('bad', [[1.2, 0.5], [-0.1, 0.5], [0.5], [[0.5, 0.5]]])
def test_no_probabilities(bad):
    with pytest.raises(UserError, match='labels: the labeller answered 2 questions'):
        judges.both_orders(lambda *_: bad, ['x'], ['a'], ['b'])


def test_lengths_differ():
    with pytest.raises(UserError, match='2 prompts with 1 and 2 responses'):
        judges.both_orders(whimsy, 'xy', 'a', 'bc')


def test_nothing_to_label():
    assert judges.labeller(whimsy)([], [], []).shape == (0,)


def test_questions_and_their_worth():
    asked = []

    def choose(template, questions):
        asked.extend(questions)
        count = len(template.options)
        return np.tile(np.arange(1, count + 1) / sum(range(1, count + 1)), (2, 1))

    pairwise = judges.ask(choose, PAIRWISE['generic'])
    np.testing.assert_allclose(pairwise(['p', 'q'], ['a', 'b'], ['c', 'd']), 1 / 3)
    assert asked[1] == {'prompt': 'q', 'first': 'b', 'second': 'd'}
    scores = judges.rater(choose, SCORE)(['p', 'q'], ['a', 'b'])
    # p(i) = i / 55: the expected score is 385 / 55 = 7, which is 1/3 of the way up
    np.testing.assert_allclose(scores, (7 - 5.5) / 4.5)
    np.testing.assert_allclose(judges.rater(choose, HARMLESS)('pq', 'ab'), 1 / 3)
    assert asked[-1] == {'prompt': 'q', 'response': 'b'}
    assert judges.rater(choose, SCORE)([], []).shape == (0,)


def test_rewards():
    said = np.array([0.5, np.nan, -1.0])
    got = judges.rewards(lambda *_: said, 'xyz', 'abc')
    assert got.dtype == np.float32 and got.tolist() == [0.5, 0, -1]
    with pytest.raises(UserError, match='scored only 1 of 2'):
        judges.rewards(lambda *_: said[:2], 'xy', 'ab')
