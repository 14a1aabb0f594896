"""The files that a setting names: themselves, a folder's, a pattern's, a list's."""

import pytest

from perl import data
from perl.data.files import paths
from perl.system.errors import UserError


@pytest.fixture
def folder(tmp_path):
    names = ('b.jsonl', 'a.csv', 'c.jsonl.gz', 'c.jsonl', 'notes.md', '.a.json')
    for name in (*names, 'in/d.jsonl'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"prompt": "x"}')
    return tmp_path


def names(where):
    return [file.name for file in paths.expand(where, 'prompts.path')]


def test_a_folder(folder):
    """Its tables in order; what has two copies, is hidden or deeper is left out."""
    assert names(folder) == ['a.csv', 'b.jsonl', 'c.jsonl']


def test_a_pattern(folder):
    assert names(folder / '?.jsonl') == ['b.jsonl', 'c.jsonl']
    assert names(f'{folder}/*/*.jsonl') == ['d.jsonl']
    assert names(f'{folder}/**/*.jsonl') == ['b.jsonl', 'c.jsonl', 'd.jsonl']


def test_a_pattern_below_a_folder_whose_name_looks_like_one(tmp_path):
    """The folder that has exactly this name, not the one that its name matches."""
    for name in ('d[1]/mine.jsonl', 'd1/other.jsonl'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text('{"prompt": "x"}')
    assert names(tmp_path / 'd[1]' / '*.jsonl') == ['mine.jsonl']
    assert names(tmp_path / 'd[12]' / '*.jsonl') == ['other.jsonl']
    with pytest.raises(UserError, match=r'there is no file .*gone\.jsonl'):
        names(tmp_path / 'd[1]' / 'gone.jsonl')


def test_a_list_in_its_order(folder):
    assert names([folder / 'c.jsonl', str(folder / '[ab].*')]) == [
        *('c.jsonl', 'a.csv', 'b.jsonl')
    ]


def test_a_list_that_has_a_file_twice(folder):
    """Its rows would count twice."""
    again = folder / 'in' / '..' / 'b.jsonl'
    for where in ([folder / '*.jsonl', folder / 'b.jsonl'], [folder, again]):
        with pytest.raises(UserError, match=r'prompts.path: .*b\.jsonl twice; name'):
            names(where)


@pytest.mark.parametrize('kind', ['jsonl', 'csv', 'parquet'])
def test_a_file_of_that_very_name_is_no_pattern(tmp_path, kind):
    """`d[1]` is read, not the `d1` beside it that it would match as a pattern."""
    for name, text in (('d[1]', 'right'), ('d1', 'wrong')):
        file = tmp_path / f'{name}.{kind}'
        if kind == 'parquet':
            from pyarrow import Table, parquet

            parquet.write_table(Table.from_pylist([{'prompt': text}]), file)
        else:
            rows = {'jsonl': f'{{"prompt": "{text}"}}', 'csv': f'prompt\n{text}\n'}
            file.write_text(rows[kind])
    made = data.load('files', prompts=tmp_path / f'd[1].{kind}', shares=(1, 0, 0))
    assert made.prompts['train'] == ['right']


@pytest.mark.parametrize(
    ('where', 'says'),
    [
        ('in/none', 'in/none'),
        ('*.parquet', r'prompts.path: no file matches .*\*.parquet; files may end in'),
        ('empty', 'prompts.path: the folder .*empty has no files that end in .json, '),
        ([], 'prompts.path: the list is empty'),
    ],
)
def test_nothing_there(folder, monkeypatch, where, says):
    monkeypatch.chdir(folder)
    (folder / 'empty').mkdir()
    with pytest.raises(UserError, match=says):
        data.load('files', prompts={'path': where})
