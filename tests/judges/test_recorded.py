"""Verdicts from a file, in either order; what is missing or wrong is one line."""

import json
import math

import numpy as np
import pytest

from perl import judges
from perl.judges import recorded
from perl.system.errors import UserError


def write(path, *rows, end='\n'):
    path.write_text('\n'.join(map(json.dumps, rows)) + end)
    return path


def pair(first, second, **said):
    return {'prompt': 'p', 'first': first, 'second': second, **said}


@pytest.mark.parametrize('end', ['\n', ''])
def test_preferences_and_verdicts(tmp_path, end):
    file = write(
        tmp_path / 'a.jsonl',
        pair('a', 'b', preference=0.75),
        pair('c', 'd', verdict=2),
        pair('e', 'f', verdict='tie'),
        pair('g', 'h', preference=None),
        pair('i', 'j', verdict='1'),
        end=end,
    )
    ask = recorded.preference(file)
    got = ask(['p'] * 6, list('acegib'), list('bdfhja'))
    np.testing.assert_array_equal(got, [0.75, 0, 0.5, math.nan, 1, 0.25])


def test_both_orders_are_kept_apart_and_lines_averaged(tmp_path):
    file = write(
        tmp_path / 'a.jsonl',
        pair('a', 'b', verdict=1),
        pair('b', 'a', verdict=1),
        pair('c', 'd', verdict=1),
        pair('c', 'd', verdict=2),
        pair('c', 'd', verdict=1),
        pair('c', 'd', verdict=None),
    )
    ask = recorded.preference(file)
    got = judges.both_orders(ask, 'pp', 'ac', 'bd')
    assert (got.won.tolist(), got.position_bias) == ([0.5, 1], 0.5)
    assert ask('p', 'c', 'd') == pytest.approx(2 / 3)


def test_a_missing_pair(tmp_path):
    file = write(tmp_path / 'a.jsonl', pair('a', 'b', verdict=1))
    with pytest.raises(UserError, match=r"2 of 3 pairs are not in it.*prompt 'q'"):
        recorded.preference(file)(['p', 'q', 'p'], ['a', 'a', 'a'], ['b', 'b', 'c'])


def test_a_cut_last_line_is_dropped(tmp_path):
    file = write(tmp_path / 'a.jsonl', pair('a', 'b', verdict=1), end='\n{"prompt": ')
    assert recorded.preference(file)('p', 'a', 'b') == 1


@pytest.mark.parametrize(
    ('row', 'words'),
    [
        (pair('a', 'b'), 'line 2: has neither preference nor verdict'),
        (pair('a', 'b', preference=1.5), 'line 2: the preference 1.5 is not between'),
        (pair('a', 'b', preference='x'), "line 2: the preference 'x' is not"),
        (pair('a', 'b', preference=True), 'line 2: the preference True'),
        (pair('a', 'b', verdict=3), 'line 2: the verdict 3 is not one of 1, 2, tie'),
        (pair('a', 'b', verdict=0), 'line 2: the verdict 0 is not one'),
        (pair('a', None, verdict=1), 'line 2: needs the texts prompt, first, second'),
        ([1], 'line 2: not a JSON object'),
        (pair('a', 'b', preference=10**400), 'line 2: the preference 1000'),
        (pair('a', 'b', preference=float('nan')), 'line 2: the preference nan is not'),
        (pair('a', 'b', verdict=[[1]]), r'line 2: the verdict \[\[1\]\] is not one'),
        (pair('a', 'b', verdict=1, labeller='other'), 'several labellers'),
    ],
)
def test_bad_lines(tmp_path, row, words):
    good = pair('x', 'y', verdict=1)
    with pytest.raises(UserError, match=words):
        recorded.preference(write(tmp_path / 'a.jsonl', good, row))


@pytest.mark.parametrize('line', [b'[' * 10**5, b'9' * 5000, b'\xc3'])
def test_a_line_that_is_no_object(tmp_path, line):
    file = write(tmp_path / 'a.jsonl', pair('a', 'b', verdict=1))
    file.write_bytes(file.read_bytes() + line + b'\n')
    with pytest.raises(UserError, match=r'a\.jsonl, line 2: ') as caught:
        recorded.preference(file)
    assert len(str(caught.value)) < 300


def test_what_a_file_has(tmp_path):
    rating = {'prompt': 'p', 'response': 'a', 'score': 1}
    assert recorded.has_ratings(write(tmp_path / 'a.jsonl', rating))
    assert not recorded.has_ratings(write(tmp_path / 'b.jsonl', pair('a', 'b')))
    (tmp_path / 'c.jsonl').write_text('')
    assert not recorded.has_ratings(tmp_path / 'c.jsonl')


def test_no_file():
    with pytest.raises(UserError, match=r'no file nowhere\.jsonl'):
        recorded.preference('nowhere.jsonl')


def test_scores(tmp_path):
    row = {'prompt': 'p', 'response': 'a', 'score': -0.5}
    file = write(tmp_path / 'a.jsonl', row, {**row, 'response': 'b', 'score': None})
    np.testing.assert_array_equal(recorded.reward(file)('pp', 'ab'), [-0.5, math.nan])
    with pytest.raises(UserError, match='1 of 1 responses are not in it'):
        recorded.reward(file)('p', 'c')
    for score in ('x', 10**400, float('inf'), True):
        with pytest.raises(UserError, match=r'line 1: the score .* is not a number'):
            recorded.reward(write(tmp_path / 'b.jsonl', {**row, 'score': score}))


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / 'a.jsonl').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='line 1: byte 1 is not UTF-8'):
        recorded.preference(tmp_path / 'a.jsonl')


def test_a_key_that_is_there_twice(tmp_path):
    file = tmp_path / 'a.jsonl'
    file.write_text('{"prompt": "p", "verdict": 1, "verdict": 2}\n')
    with pytest.raises(UserError, match="line 1: the key 'verdict' is there twice"):
        recorded.preference(file)
