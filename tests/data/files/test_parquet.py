"""Parquet: the columns that are asked for, in place, whatever else the file has."""

import datetime
import tempfile

import pyarrow
import pytest
from pyarrow import parquet as writer

from perl import data
from perl.data.files import packed, parquet
from perl.system.errors import UserError

OTHERS = {
    'map': pyarrow.array([[('k', 1)], None], pyarrow.map_(pyarrow.string(), 'int64')),
    'a.dotted': pyarrow.array([1, 2]),
    'struct': pyarrow.array([{'p': 1}, None]),
    'list': pyarrow.array([[1], []], pyarrow.large_list(pyarrow.int8())),
    'fixed': pyarrow.array([[1, 2], [3, 4]], pyarrow.list_(pyarrow.int16(), 2)),
    'bytes': pyarrow.array([b'\xff', None], pyarrow.binary(1)),
    'decimal': pyarrow.array([None, 1], pyarrow.decimal256(40, 2)),
    'time': pyarrow.array([1, 2], pyarrow.timestamp('ns', 'UTC')),
    'span': pyarrow.array([1, 2], pyarrow.duration('us')),
    'half': pyarrow.array([1.0, 2.0], pyarrow.float16()),
    'null': pyarrow.nulls(2),
    'uuid': pyarrow.array([b'0' * 16, b'1' * 16], pyarrow.uuid()),
}


def write(file, **columns):
    writer.write_table(pyarrow.table(columns), file)
    return file


def rows(file, *columns):
    return [values for _, values in parquet.read(file, columns)]


@pytest.mark.parametrize('name', OTHERS)
def test_columns_that_nobody_asked_for_are_not_looked_at(tmp_path, name):
    file = write(tmp_path / 'x.parquet', **{name: OTHERS[name], 'p': ['q', 'r']})
    assert rows(file, 'p') == [{'p': 'q'}, {'p': 'r'}]
    assert parquet.columns_of(file) == [name, 'p']
    assert sum(map(len, data.load('files', prompts={'path': file,
        'columns': {'prompt': 'p'}}).prompts.values())) == 2  # fmt: skip


@pytest.mark.parametrize(
    'column',
    [
        pyarrow.array(['x', None]),
        pyarrow.array(['x', None], pyarrow.large_string()),
        pyarrow.array(['x', None], pyarrow.string_view()),
        pyarrow.array(['x', None]).dictionary_encode(),
    ],
    ids=lambda x: str(x.type),
)
def test_every_kind_of_text(tmp_path, column):
    file = write(tmp_path / 'x.parquet', p=column)
    assert rows(file, 'p', 'elsewhere') == [{'p': 'x'}, {'p': None}]


def test_a_name_with_a_dot_is_one_column(tmp_path):
    file = write(tmp_path / 'x.parquet', **{'a.b': ['x'], 'a': [{'b': 1}]})
    assert rows(file, 'a.b') == [{'a.b': 'x'}]
    assert rows(file, 'a') == [{'a': {'b': 1}}]


def test_numbers_of_rows_go_on_over_batches(tmp_path):
    file = tmp_path / 'x.parquet'
    table = pyarrow.table({'p': [f'p{i}' for i in range(700)]})
    writer.write_table(table, file, row_group_size=300)
    found = list(parquet.read(file, ['p']))
    assert found == [(f'row {i + 1}', {'p': f'p{i}'}) for i in range(700)]


@pytest.mark.parametrize('columns', [{'prompt': pyarrow.array([], 'string')}, {}])
def test_a_table_without_rows(tmp_path, columns):
    file = write(tmp_path / 'x.parquet', **columns)
    with pytest.raises(UserError, match=r'x.parquet has no rows$'):
        data.load('files', prompts=file)


def test_a_column_that_is_not_there(tmp_path):
    file = write(tmp_path / 'x.parquet', promt=['x'])
    with pytest.raises(UserError, match=r"no column 'prompt'; did you mean 'promt'"):
        data.load('files', prompts=file)


def test_two_columns_of_one_name(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array(['x'])] * 2, ['p', 'p'])
    writer.write_table(table, tmp_path / 'x.parquet')
    with pytest.raises(UserError, match=r"has 2 columns 'p'; rename"):
        rows(tmp_path / 'x.parquet', 'p')


def test_a_byte_that_is_not_utf8(tmp_path):
    ends = pyarrow.py_buffer(b'\0\0\0\0\2\0\0\0\6\0\0\0')
    letters = pyarrow.py_buffer(b'okab\xffd')
    column = pyarrow.StringArray.from_buffers(2, ends, letters)
    file = write(tmp_path / 'x.parquet', p=column)
    with pytest.raises(UserError, match=r"row 2: byte 3 of 'p' is 0xff, which is not"):
        rows(file, 'p')


def test_a_value_that_python_cannot_hold(tmp_path):
    column = pyarrow.array([0, 2**60], pyarrow.timestamp('ms'))
    file = write(tmp_path / 'x.parquet', p=column)
    with pytest.raises(UserError, match=r"row 2: 'p' is a timestamp.ms. that"):
        rows(file, 'p')


def test_dates_and_numbers_are_fine_groups(tmp_path):
    file = write(
        tmp_path / 'x.parquet',
        prompt=['a', 'b'],
        day=[datetime.date(2020, 1, 2)] * 2,
        number=[3, 3],
    )
    for group, key in (('day', '2020-01-02'), ('number', '3')):
        made = data.load('files', prompts={'path': file, 'group': group}).prompts
        assert made[data.split_of(key)] == ['a', 'b']


@pytest.mark.parametrize('content', [b'', b'PAR1', b'PAR1' * 9, b'{"a": 1}\n'])
def test_damage(tmp_path, content):
    file = tmp_path / 'x.parquet'
    file.write_bytes(content)
    with pytest.raises(UserError, match=r'x.parquet is damaged, or is not Parquet'):
        rows(file, 'p')


def test_damage_within(tmp_path):
    file = write(tmp_path / 'x.parquet', p=[f'text {i}' for i in range(99)])
    content = bytearray(file.read_bytes())
    content[40:200] = bytes(160)
    file.write_bytes(content)
    with pytest.raises(UserError, match=r'x.parquet is damaged, or is not Parquet'):
        rows(file, 'p')


def test_a_small_file_of_much_content_is_refused(tmp_path, monkeypatch):
    """Of a thousand equal values Parquet keeps one."""
    file = write(tmp_path / 'x.parquet', p=['x' * 2**14] * 2000)
    monkeypatch.setattr(packed, 'SMALL', 2**20)
    with pytest.raises(UserError, match='unpacks to more than'):
        rows(file, 'p')
    monkeypatch.setattr(parquet, '_MANY_ROWS', 100)
    many = write(tmp_path / 'y.parquet', p=pyarrow.nulls(10**5))
    with pytest.raises(UserError, match='unpacks to more than'):
        rows(many, 'p')


def test_nothing_is_copied(tmp_path, monkeypatch):
    """While rows are read there is no other file than the table itself."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'tmp'))
    for name in ('TMPDIR', 'HOME', 'HF_HOME', 'XDG_CACHE_HOME'):
        monkeypatch.setenv(name, str(tmp_path / 'tmp'))
    (tmp_path / 'tmp').mkdir()
    file = write(tmp_path / 'x.parquet', prompt=['x'] * 999)
    reading = parquet.read(file, ['prompt'])
    next(reading)
    assert sorted(tmp_path.rglob('*')) == [tmp_path / 'tmp', file]
