"""Rows: what columns may hold, and errors that say where."""

import datetime
import decimal
import json
import pathlib

import pytest

from perl.data.files import rows
from perl.system.errors import UserError


def one(tmp_path, **values):
    file = tmp_path / 'a.jsonl'
    file.write_text(json.dumps(values))
    return next(rows.read_rows(file, list(values)))


@pytest.mark.parametrize(
    ('value', 'key'),
    [
        ('x', 'x'),
        (' a\tdialog ', 'a dialog'),
        (3, '3'),
        (3.0, '3'),
        (2.5, '2.5'),
        (0, '0'),
        (True, 'True'),
        (1e300, str(int(1e300))),
    ],
)
def test_keys(tmp_path, value, key):
    assert one(tmp_path, group=value).key('group') == key


@pytest.mark.parametrize(
    ('value', 'key'),
    [
        (decimal.Decimal('3.00'), '3'),
        (decimal.Decimal('2.50'), '2.50'),
        (datetime.date(2020, 1, 2), '2020-01-02'),
    ],
)
def test_keys_that_only_parquet_has(value, key):
    assert (
        rows.Row(pathlib.Path('a.parquet'), 'row 1', {'group': value}).key('group')
        == key
    )


def test_bytes_are_no_key():
    row = rows.Row(pathlib.Path('a.parquet'), 'row 7', {'group': b'x'})
    with pytest.raises(UserError, match=r"a.parquet, row 7: 'group' is b'x', not text"):
        row.key('group')


@pytest.mark.parametrize(
    ('value', 'says'),
    [
        (None, 'is missing'),
        (' ', 'is empty'),
        ([1], r'is \[1\], not text or a number'),
        ({}, 'is {}, not text or a number'),
        (float('nan'), 'is nan, not text or a number'),
    ],
)
def test_what_is_no_key(tmp_path, value, says):
    with pytest.raises(UserError, match=f"a.jsonl, line 1: 'group' {says}"):
        one(tmp_path, group=value).key('group')


def test_numbers_of_many_digits(tmp_path):
    row = one(tmp_path, label=10**400, margin='1' + '0' * 400)
    with pytest.raises(UserError, match=r"'label' is a number too large to hold$"):
        row.share('label')
    with pytest.raises(UserError, match=r"'margin' is inf, not a finite number of 0 o"):
        row.amount('margin')


@pytest.mark.parametrize('text', ['0_1', '\u0661', '1 0', '0x1', ''])
def test_texts_that_are_no_numbers(tmp_path, text):
    with pytest.raises(UserError, match=r"'label' is .* not a number$"):
        one(tmp_path, label=text).share('label')


@pytest.mark.parametrize('text', ['1', ' 0.5 ', '1e-3', '+.5'])
def test_texts_that_are_numbers(tmp_path, text):
    assert one(tmp_path, label=text).share('label') == float(text)


def test_a_first_row_that_passes_for_a_header_is_not_shown(tmp_path):
    file = tmp_path / 'a.csv'
    cell = 'a long private sentence of a user ' * 9
    file.write_text(','.join([cell] * 40) + '\n' + 'x,' * 39 + 'x\n')
    with pytest.raises(
        UserError, match=r"has no column 'prompt'; .*, 28 more$"
    ) as error:
        next(rows.read_rows(file, ['prompt']))
    assert len(str(error.value)) < len(str(file)) + 500
    assert 'sentence of a user' not in str(error.value)


def test_a_column_that_the_first_row_lacks(tmp_path):
    file = tmp_path / 'a.jsonl'
    file.write_text('{"a": "x"}\n{"a": "y", "b": "z"}\n')
    found = list(rows.read_rows(file, ['a', 'b'], ['c']))
    assert [row.values for row in found] == [
        {'a': 'x', 'b': None, 'c': None},
        {'a': 'y', 'b': 'z', 'c': None},
    ]


def test_a_folder(tmp_path):
    with pytest.raises(UserError, match=f'^{tmp_path} is a folder; give a file in it$'):
        next(rows.read_rows(tmp_path, ['a']))


def test_a_row_without_columns(tmp_path):
    file = tmp_path / 'a.json'
    file.write_text('{}')
    with pytest.raises(UserError, match=r"has no column 'a'; it has none$"):
        next(rows.read_rows(file, ['a']))


def test_rows_come_one_at_a_time(tmp_path):
    """The first row is there before the second, which is damaged, is read."""
    file = tmp_path / 'a.jsonl'
    file.write_text('{"a": "x"}\n{"a": ')
    reading = rows.read_rows(file, ['a'])
    assert next(reading).text('a') == 'x'
    with pytest.raises(UserError, match='line 2 is not JSON'):
        next(reading)
