import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.evaluation.figures import winrate
from perl.system.errors import UserError

PROMPTS = list('abcde')
texts = st.text('x', max_size=3)


def size(prompts, responses):
    return [len(response) for response in responses]


def constant(verdict):
    return lambda prompts, first, second: np.full(len(prompts), verdict)


def test_win_rate_by_hand():
    a, b = ['xxx', 'xx', 'x', 'x', 'xx'], ['x', 'x', 'x', 'xx', '']
    got = winrate.win_rate(winrate.from_scores(size), PROMPTS, a, b)
    assert (got['wins'], got['ties'], got['losses'], got['n']) == (3, 1, 1, 5)
    assert got['win_rate'] == 0.7
    assert got['sign_test'] == pytest.approx(10 / 16)  # 3 : 1 or more uneven, of 2^4
    low, high = got['win_rate_ci95']
    assert 0 < low < 0.7 < high < 1
    low, high = got['win_rate_bootstrap95']
    assert 0 <= low < 0.7 < high <= 1
    assert got['position_bias'] == 0


@pytest.mark.parametrize('verdict, bias', [(1.0, 1.0), (0.0, 1.0), (0.5, 0.0)])
def test_a_judge_that_looks_at_places_only_sees_ties(verdict, bias):
    got = winrate.win_rate(constant(verdict), PROMPTS, PROMPTS, PROMPTS)
    assert (got['wins'], got['ties'], got['losses']) == (0, 5, 0)
    assert (got['win_rate'], got['sign_test']) == (0.5, 1)
    assert got['position_bias'] == bias


def test_a_win_in_one_order_and_a_tie_in_the_other_is_a_tie():
    verdicts = iter([np.array([1.0, 0.5, 0.0]), np.array([0.5, 1.0, 0.5])])
    got = winrate.win_rate(
        lambda *_: next(verdicts), PROMPTS[:3], PROMPTS[:3], PROMPTS[:3]
    )
    assert (got['wins'], got['ties'], got['losses']) == (0, 3, 0)


def test_what_the_rate_counts():
    a, b = ['xxx', 'xx', 'x', 'x', 'xx'], ['x', 'x', 'x', 'xx', '']
    won, biased = winrate.both_orders(winrate.from_scores(size), PROMPTS, a, b)
    np.testing.assert_array_equal(won, [1, 1, 0.5, 0, 1])
    assert not biased.any()
    won, biased = winrate.both_orders(constant(1.0), PROMPTS, a, b)
    assert (won == 0.5).all() and biased.all()


def test_the_bootstrap_of_many_is_the_normal_interval():
    rng = np.random.default_rng(0)
    a, b = (['x' * n for n in rng.integers(3, size=400)] for _ in range(2))
    judge = winrate.from_scores(size)
    got = winrate.win_rate(judge, ['p'] * 400, a, b)
    spread = winrate.both_orders(judge, ['p'] * 400, a, b)[0].std() / 20
    low, high = got['win_rate_bootstrap95']
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    # Wilson takes a tie for half a win of a coin and so is the wider one
    assert np.diff(got['win_rate_ci95']) > high - low


@given(st.lists(st.tuples(texts, texts), min_size=1))
def test_exchanging_the_sides_exchanges_wins_and_losses(pairs):
    a, b = map(list, zip(*pairs, strict=True))
    prompts = ['p'] * len(a)
    judge = winrate.from_scores(size)
    one = winrate.win_rate(judge, prompts, a, b)
    other = winrate.win_rate(judge, prompts, b, a)
    assert (one['wins'], one['ties']) == (other['losses'], other['ties'])
    assert one['win_rate'] + other['win_rate'] == pytest.approx(1)


def test_a_margin_makes_ties():
    a, b = ['xxx', 'xx'], ['x', 'x']
    judge = winrate.from_scores(size, margin=1)
    np.testing.assert_array_equal(judge(['p', 'q'], a, b), [1, 0.5])
    np.testing.assert_array_equal(judge(['p', 'q'], b, a), [0, 0.5])


def test_each_text_is_scored_once():
    asked = []

    def score(prompts, responses):
        asked.extend(zip(prompts, responses, strict=True))
        return size(prompts, responses)

    a, b = ['xx', 'x', 'x'], ['x', 'x', 'xx']
    winrate.win_rate(winrate.from_scores(score), ['p', 'p', 'q'], a, b)
    assert sorted(asked) == [('p', 'x'), ('p', 'xx'), ('q', 'x'), ('q', 'xx')]


def test_from_gold():
    judge = winrate.from_gold(lambda prompt, response: float(prompt in response))
    np.testing.assert_array_equal(judge(['a', 'b'], ['a', 'a'], ['', 'b']), [1, 0])


@pytest.mark.parametrize(
    'judge, a, message',
    [
        (winrate.from_scores(size), ['x'], '5 prompts with 1 and 5'),
        (constant(0.7), PROMPTS, '1, 0.5 or 0'),
        (lambda *_: np.ones(3), PROMPTS, r'shape \(3,\)'),
        (winrate.from_gold(lambda *_: float('nan')), PROMPTS, 'not finite'),
    ],
)
def test_bad_input_is_one_clear_line(judge, a, message):
    with pytest.raises(UserError, match=message):
        winrate.win_rate(judge, PROMPTS, a, PROMPTS)


def test_no_prompts_is_an_error():
    with pytest.raises(UserError, match='0 prompts'):
        winrate.win_rate(constant(1.0), [], [], [])
