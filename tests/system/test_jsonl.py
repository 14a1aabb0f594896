"""JSON on disk: whole lines, one error for whatever is not JSON, differences."""

import json
import math

import numpy as np
import pytest

from perl.system import jsonl
from perl.system.errors import UserError

DEEP = '{"a": ' * 5000 + '1' + '}' * 5000
LEVELS = '{"a": ' * 150 + '1' + '}' * 150


@pytest.mark.parametrize('text', ['', '{', '[1]', '3', '"x"', DEEP, LEVELS])
def test_what_is_not_an_object_is_one_error(tmp_path, text):
    file = tmp_path / 'x.json'
    file.write_text(text)
    with pytest.raises(UserError, match=f'{file}: not a JSON object'):
        jsonl.load(file)
    file.write_text(text + '\n')
    with pytest.raises(UserError, match=f'{file}: line 1 is not a JSON object'):
        jsonl.rows(file)


def test_bytes_that_are_not_text_are_one_error(tmp_path):
    (tmp_path / 'x').write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(UserError, match='not a JSON object'):
        jsonl.load(tmp_path / 'x')
    with pytest.raises(UserError, match='line 1'):
        jsonl.rows(tmp_path / 'x')


def test_an_object_comes_back(tmp_path):
    value = {'a': [1, {'b': 'ü\u2028'}], 'x': np.float32(0.5), 'none': math.nan}
    jsonl.save(tmp_path / 'x', value)
    assert jsonl.load(tmp_path / 'x') == {
        'a': [1, {'b': 'ü\u2028'}],
        'x': 0.5,
        'none': None,
    }
    assert jsonl.load(tmp_path / 'nothing') == {}


def test_rows_come_back(tmp_path):
    file, rows = tmp_path / 'x', [{'a': 'ü\u2028\r\n'}, {'b': '\ud800'}]
    jsonl.save_rows(file, rows[:1])
    jsonl.append(file, rows[1:])
    assert jsonl.rows(file) == rows
    with file.open('a') as out:
        out.write('{"half": ')
    assert jsonl.rows(file) == rows
    jsonl.mend(file)
    jsonl.append(file, [{'c': 1}])
    assert jsonl.rows(file) == [*rows, {'c': 1}]


def test_differences_name_every_changed_value():
    old = {'seed': 0, 'sft': {'rate': 0.1, 'steps': 3}, 'stages': ['a', 'b']}
    new = {'sft': {'rate': 0.5, 'steps': 3}, 'stages': ['a'], 'extra': {'a': 1}}
    assert jsonl.differences(old, json.loads(json.dumps(old))) == []
    assert jsonl.differences(old, new) == [
        "extra: was None, is {'a': 1}",
        'seed: was 0, is None',
        'sft.rate: was 0.1, is 0.5',
        "stages: was ['a', 'b'], is ['a']",
    ]


@pytest.mark.parametrize('text', ['{"a":' * 20_000, '[1]', '{', b'\xff'])
def test_what_is_no_object_is_one_line(text):
    with pytest.raises(UserError, match=r'x\.json: not a JSON object; fix the file or'):
        jsonl.as_object(text, 'x.json')


def test_a_key_that_is_there_twice(tmp_path):
    file = tmp_path / 'x'
    file.write_text('{"a": {"steps": 1},\n "b": {"steps": 1,\n "steps": 2}}\n')
    says = f"^{file}, line 3: the key 'steps' is there twice in one object; keep one"
    with pytest.raises(UserError, match=says):
        jsonl.load(file)
    file.write_text('{"a": 1}\n{"a": 1, "a": 1}\n')
    with pytest.raises(UserError, match=f"^{file}: line 2: the key 'a' is there twice"):
        jsonl.rows(file)
    assert jsonl.parse('{"a": 1, "a": 2}', unique=False) == {'a': 2}
