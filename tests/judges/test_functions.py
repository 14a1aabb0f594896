"""Reward functions of a user: batches, and one clear line for each thing that fails."""

import pathlib
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from perl.judges import functions
from perl.system.errors import UserError

PROMPTS, RESPONSES = ['p1', 'p2', 'p3'], ['a', 'bb', 'ccc']


def length(prompts, responses):
    return [len(x) for x in responses]


def call(function, prompts=PROMPTS, responses=RESPONSES):
    return functions.checked('mine:f', function)(prompts, responses)


@pytest.mark.parametrize('kind', [list, tuple, np.array, jnp.array])
def test_what_may_be_returned(kind):
    got = call(lambda prompts, responses: kind(length(prompts, responses)))
    assert got.dtype == np.float64 and got.tolist() == [1, 2, 3]


def test_no_verdict():
    np.testing.assert_array_equal(
        call(lambda *_: [1, None, float('nan')]), [1, np.nan, np.nan]
    )


def test_it_is_called_in_batches_of_lists(monkeypatch):
    monkeypatch.setattr(functions, 'BATCH', 2)
    calls = []

    def noted(prompts, responses):
        calls.append((prompts, responses))
        return length(prompts, responses)

    assert call(noted, tuple(PROMPTS), tuple(RESPONSES)).tolist() == [1, 2, 3]
    assert calls == [(['p1', 'p2'], ['a', 'bb']), (['p3'], ['ccc'])]
    assert call(noted, [], []).shape == (0,) and len(calls) == 2


def fails_at_bb(prompts, responses):
    return [1 / (response != 'bb') for response in responses]


def fails_together(prompts, responses):
    assert len(prompts) == 1
    return [1.0]


def shaped(kind, shape):
    return f'returned a value of type {kind} and shape {shape} for 3 responses'


@pytest.mark.parametrize(
    ('function', 'words', 'first'),
    [
        (fails_at_bb, 'raised ZeroDivisionError: division by zero', 'bb'),
        (fails_together, 'raised AssertionError', 'a'),
        (lambda *_: sys.exit(0), 'raised SystemExit: 0', 'a'),
        (lambda prompts: 1, 'raised TypeError', 'a'),
        (lambda *_: [1, 2], shaped('list', r'\(2,\)'), 'ccc'),
        (lambda *_: [1] * 4, shaped('list', r'\(4,\)'), 'a'),
        (lambda *_: 1.0, shaped('float', r'\(\)'), 'a'),
        (lambda *_: None, shaped('NoneType', r'\(\)'), 'a'),
        (lambda *_: np.zeros((3, 1)), shaped('ndarray', r'\(3, 1\)'), 'a'),
        (lambda *_: {'a': 1}, 'returned a value of type dict, not a list of', 'a'),
        (lambda *_: '123', 'returned a value of type str, not a list of numbers', 'a'),
        (lambda *_: [1, [2], 3], r'returned \[2\] of type list, not a number', 'bb'),
        (lambda *_: [1, 2, 'x'], "returned 'x' of type str, not a number", 'ccc'),
        (lambda *_: ['1', 2, 3], "returned '1' of type str, not a number", 'a'),
        (lambda *_: [1, 2, 3, 'x'], "returned 'x' of type str, not a number", 'ccc'),
        (lambda *_: (1, 2, b'3'), "returned b'3' of type bytes, not a number", 'ccc'),
        (lambda *_: np.array(['1', '2', '3']), r'returned .* of type str_, not', 'a'),
        (lambda *_: np.array([1, '2', 3], object), "returned '2' of type str,", 'bb'),
        (lambda *_: [1, 10**400, 3], 'returned 10+… of type int, not a number', 'bb'),
        (lambda *_: [1, float('inf'), 3], 'returned inf', 'bb'),
        (lambda *_: [1, 1e39, 3], r'returned 1e\+39', 'bb'),
        (lambda *_: [1, 2, -float('inf')], 'returned -inf', 'ccc'),
    ],
)
def test_a_broken_function_is_one_line_with_the_first_pair(function, words, first):
    with pytest.raises(
        UserError, match=f'mine:f: the reward function {words}'
    ) as error:
        call(function)
    prompt = PROMPTS[RESPONSES.index(first)]
    assert str(error.value).endswith(
        f"that fails is '{first}' to the prompt '{prompt}'"
    )
    assert '\n' not in str(error.value)


def test_texts_in_an_error_are_short():
    with pytest.raises(UserError) as error:
        call(lambda *_: [], ['p\n' * 999], ['r\n' * 999])
    assert len(str(error.value)) < 400 and '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'is_function'),
    [('a:b', True), ('a.b:c', True), ('reward', False), ('/tmp/a:b/adapter', False)],
)
def test_names_of_functions(name, is_function):
    assert functions.named(name) is is_function


def test_it_is_found_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path('brevity_of_mine.py').write_text(
        'LIMIT = 3\n'
        'def brief(prompts, responses):\n'
        '    return [-len(x) for x in responses]\n'
    )
    reward = functions.load('brevity_of_mine:brief')
    assert reward(PROMPTS, RESPONSES).tolist() == [-1, -2, -3]
    with pytest.raises(UserError, match="did you mean 'brief'"):
        functions.load('brevity_of_mine:breif')
    with pytest.raises(UserError, match='LIMIT is not a function but of the type int'):
        functions.load('brevity_of_mine:LIMIT')
    with pytest.raises(UserError, match='there is no module no_such_module'):
        functions.load('no_such_module:brief')
