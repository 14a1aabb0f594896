"""Figures of who won, by hand and by their laws."""

import numpy as np
import pytest

from perl.evaluation.figures import winrate
from perl.evaluation.figures.intervals import wilson
from perl.system.errors import UserError

NEVER = np.zeros(5, bool)


def test_win_rate_by_hand():
    got = winrate.win_metrics(np.array([1, 1, 0.5, 0, 1]), NEVER)
    assert (got['wins'], got['ties'], got['losses'], got['n']) == (3, 1, 1, 5)
    assert got['win_rate'] == 0.7
    assert got['sign_test'] == pytest.approx(10 / 16)  # 3 : 1 or more uneven, of 2^4
    low, high = got['win_rate_ci95']
    assert 0 < low < 0.7 < high < 1
    assert got['position_bias'] == 0


def test_ties_only():
    got = winrate.win_metrics(np.full(5, 0.5), ~NEVER)
    assert (got['wins'], got['ties'], got['losses']) == (0, 5, 0)
    assert (got['win_rate'], got['sign_test']) == (0.5, 1)
    assert got['position_bias'] == 1


def test_the_interval_of_many_is_the_normal_one():
    won = np.random.default_rng(0).choice([0, 0.5, 1], 400, p=[1 / 3, 1 / 3, 1 / 3])
    low, high = winrate.win_metrics(won, np.zeros(400, bool))['win_rate_ci95']
    assert high - low == pytest.approx(2 * 1.96 * won.std() / 20, rel=0.02)
    # a tie varies less than a toss, for which Wilson's interval would be
    assert np.diff(wilson(won.sum(), 400)) > high - low


def test_prompts_of_one_dialog_count_once():
    won, biased = np.ones(30), np.zeros(30, bool)
    got = winrate.win_metrics(won, biased, np.arange(30) // 10)
    assert (got['n'], got['clusters'], got['wins']) == (30, 3, 30)
    assert got['win_rate_ci95'] == list(wilson(3, 3))
    assert got['sign_test'] == pytest.approx(2 / 8)
    alone = winrate.win_metrics(won, biased)
    assert alone['win_rate_ci95'] == list(wilson(30, 30))
    assert alone['sign_test'] == pytest.approx(2 / 2**30)


def test_exchanging_the_sides_exchanges_wins_and_losses():
    won = np.array([1, 1, 0.5, 0, 1])
    one, other = (winrate.win_metrics(x, NEVER) for x in (won, 1 - won))
    assert (one['wins'], one['ties']) == (other['losses'], other['ties'])
    assert one['win_rate'] + other['win_rate'] == pytest.approx(1)


def test_no_pairs_is_an_error():
    with pytest.raises(UserError, match='there is no pair to compare'):
        winrate.win_metrics(np.zeros(0), np.zeros(0, bool))
