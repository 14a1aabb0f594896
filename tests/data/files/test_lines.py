"""Rows of released files: nested objects, exact complaints, and the hub when asked."""

import gzip

import pytest
import released
from datasets import Dataset as Table

from perl.data.files import lines
from perl.system.errors import UserError

SOURCE = 'https://example.org/data'


def row(tmp_path, values):
    file = released.write_lines(tmp_path / 'a.jsonl', [values])
    return next(lines.read(file, [], SOURCE))


@pytest.mark.parametrize('name', ['a.json', 'a.jsonl', 'a.jsonl.gz'])
def test_numbers_are_those_of_the_lines(tmp_path, name):
    file = released.write_lines(tmp_path / name, [{'a': 'x'}, '', {'b': None}])
    rows = list(lines.read(file, [], SOURCE))
    assert [(row.place, row.values['a']) for row in rows] == [
        ('line 1', 'x'),
        ('line 3', None),
    ]


def test_half_a_character_is_refused(tmp_path):
    made = row(tmp_path, {'whole': '\U0001f600', 'half': '\ud83d'})
    assert made.text('whole') == '\U0001f600'
    with pytest.raises(
        UserError, match=r"line 1: 'half' has half of a surrogate.* fix"
    ):
        made.text('half')


def test_parquet(tmp_path):
    Table.from_list([{'a': 'x', 'n': {'b': 1}}]).to_parquet(str(tmp_path / 'a.parquet'))
    (row,) = lines.read(tmp_path / 'a.parquet', ['a', 'n'], SOURCE)
    assert row.text('a') == 'x' and row.at('n').between('b', 0, 1) == 1


@pytest.mark.parametrize(
    ('take', 'said'),
    [
        (lambda row: row.text('nothing'), "'nothing' is missing"),
        (lambda row: row.filled('blank'), "'blank' is empty; fix"),
        (lambda row: row.text('number'), "'number' is 3, not text"),
        (lambda row: row.at('number'), "'number' is 3, not an object"),
        (lambda row: row.each('list', 2), "'list' is .*, not a list of 2"),
        (lambda row: row.each('list', 1), "'list' is 7, not an object"),
        (lambda row: row.each('number'), "'number' is 3, not a list"),
        (lambda row: row.one_of('number', 0, 1), "'number' is 3, not one of 0, 1"),
        (lambda row: row.one_of('true', 0, 1), "'true' is True, not one of"),
        (lambda row: row.between('blank', 0, 1), "'blank' is ' ', not a number"),
        (lambda row: row.between('true', 0, 1), "'true' is True, not a number"),
        (lambda row: row.between('number', 0, 1), "'number' is 3, not between 0"),
        (lambda row: row.at('inner').text('b'), "line 1: 'b' is missing"),
    ],
)
def test_complaints_name_the_place_and_the_mend(tmp_path, take, said):
    values = {'blank': ' ', 'number': 3, 'true': True, 'list': [7], 'inner': {'a': 1}}
    with pytest.raises(UserError, match=said) as caught:
        take(row(tmp_path, values))
    text = str(caught.value)
    assert text.startswith(f'{tmp_path / "a.jsonl"}, line 1: ')
    assert text.endswith(f'fix or delete the row, or get the file again from {SOURCE}')


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (
            ['{}', '{"a": '],
            r'a.jsonl, line 2 is not JSON \(.*column 7\); fix or',
        ),
        (['{}', '[1]'], r'a.jsonl, line 2 is \[1\], not an object; fix .* from'),
    ],
)
def test_lines_that_are_no_objects(tmp_path, content, said):
    file = released.write_lines(tmp_path / 'a.jsonl', content)
    with pytest.raises(UserError, match=said):
        list(lines.read(file, [], SOURCE))


def test_damage(tmp_path):
    file = tmp_path / 'a.jsonl.gz'
    file.write_bytes(gzip.compress(b'{"a": 1}\n' * 99)[:-9])
    with pytest.raises(
        UserError, match=f'a.jsonl.gz is damaged .* again from {SOURCE}'
    ):
        list(lines.read(file, [], SOURCE))
    (tmp_path / 'b.jsonl').write_bytes(b'\xff\xfe')
    with pytest.raises(UserError, match=r'b.jsonl, line 1: byte 1 is 0xff'):
        list(lines.read(tmp_path / 'b.jsonl', [], SOURCE))


def test_find_takes_the_first_place_that_has_any(tmp_path):
    for name in ('b/2.json', 'b/1.json', 'c/3.json'):
        released.write_lines(tmp_path / name, [])
    found = lines.find(tmp_path, 'a/*.json', 'b/*.json', 'c/*.json', source=SOURCE)
    assert [file.name for file in found] == ['1.json', '2.json']
    with pytest.raises(UserError, match=rf'no {tmp_path}/x: get it from {SOURCE}'):
        lines.find(tmp_path, 'x', 'y', source=SOURCE)
    with pytest.raises(
        UserError, match=rf'data.root is not given: get x from {SOURCE}'
    ):
        lines.find('', 'x', source=SOURCE)


def test_a_file_that_is_there_twice_is_found_once(tmp_path):
    for name in ('1.json', '1.json.gz', '2.json.gz'):
        released.write_lines(tmp_path / name, [])
    found = lines.find(tmp_path, '*.json*', source=SOURCE)
    assert [file.name for file in found] == ['1.json', '2.json.gz']


def test_hub_that_does_not_answer(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError('no route\nto the hub')

    monkeypatch.setattr('datasets.load_dataset', refuse)
    with pytest.raises(UserError, match=r'hub did not give a/b \(no route\): set data'):
        list(lines.read_hub('a/b', 'train', SOURCE))
