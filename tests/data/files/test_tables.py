"""Tables of every kind: what is text, what is a row, and where a fault is."""

import gzip
import json

import pytest

from perl.data.files import tables
from perl.system.errors import UserError

SECRET = 'patient zebedee confessed '


def rows(file, columns=('a', 'b')):
    return [values for _, values in tables.read(file, columns)]


def test_quotes_are_text_in_tsv(tmp_path):
    """A quote that is never closed does not swallow the next row."""
    file = tmp_path / 'a.tsv'
    file.write_text('a\tb\n"x\t1\ny" z\t""\n"q"\t\r\n')
    assert rows(file) == [
        {'a': '"x', 'b': '1'},
        {'a': 'y" z', 'b': '""'},
        {'a': '"q"', 'b': ''},
    ]


def test_tabs_and_lines_alone_part_the_cells_of_tsv(tmp_path):
    file = tmp_path / 'a.tsv'
    file.write_bytes('a\tb\nx, \u2028y\rz\t1\n\n\v\t2'.encode())
    assert rows(file) == [{'a': 'x, \u2028y\rz', 'b': '1'}, {'a': '\v', 'b': '2'}]


def test_cells_of_csv_in_quotes(tmp_path):
    file = tmp_path / 'a.csv'
    file.write_text('a,b\n"x, ""y""\nz",1\n')
    assert rows(file) == [{'a': 'x, "y"\nz', 'b': '1'}]


@pytest.mark.parametrize('name', ['a.csv', 'a.tsv'])
def test_two_columns_of_one_name(tmp_path, name):
    separator = ',' if name == 'a.csv' else '\t'
    file = tmp_path / name
    file.write_text('\n'.join(map(separator.join, ('aab', '123'))))
    assert rows(file, ['b'])[0]['b'] == '3', 'nobody asks for a'
    with pytest.raises(UserError, match=r"has 2 columns 'a'; rename"):
        rows(file, ['a'])


def test_names_of_columns(tmp_path):
    file = tmp_path / 'a.jsonl'
    file.write_text('{"a": 1}\n\n{"b": 2, "a": 3}\n')
    assert tables.columns_of(file) == ['a', 'b']
    (tmp_path / 'a.csv').write_text('x,y\n')
    assert tables.columns_of(tmp_path / 'a.csv') == ['x', 'y']


BAD = b'\xff'
LINE = json.dumps({'a': f'{SECRET}é'}, ensure_ascii=False).encode()
ROW = f'"{SECRET}é",1\n'.encode()
CASES = {
    'a.jsonl': (
        [LINE + b'\n', b'\n', LINE[:-4] + BAD + LINE[-4:] + b'\n'],
        f'line 3: byte {len(LINE) - 3} is 0xff',
    ),
    'a.json': (
        [b'[' + LINE + b',\n  ' + LINE[:-4] + BAD + LINE[-4:] + b']'],
        f'row 2, line 2: byte {len(LINE) - 1} is 0xff',
    ),
    'a.csv': (
        [b'a,b\n"x\ny",1\n', ROW, ROW[:4] + BAD + ROW[4:]],
        'line 5: byte 5 is 0xff',
    ),
    'a.tsv': ([b'a\tb\nx\t1\n' + SECRET.encode() + BAD], 'line 3: byte 27 is'),
    'b.csv': ([BAD + b'a,b\n1,2\n'], 'line 1: byte 1 is'),
    'a.jsonl.gz': (
        [gzip.compress(LINE + b'\n' + BAD + LINE)],
        'line 2: byte 1 is 0xff',
    ),
    'utf16.jsonl': ([f'{SECRET}'.encode('utf-16')], 'line 1: byte 1 is 0xff'),
}


@pytest.mark.parametrize('name', CASES)
def test_a_byte_that_is_not_utf8(tmp_path, name):
    """One short line: the file, the row and the byte, and no word of the text."""
    content, says = CASES[name]
    file = tmp_path / name
    file.write_bytes(b''.join(content))
    with pytest.raises(UserError) as caught:
        rows(file)
    error = str(caught.value)
    assert error.startswith(f'{file}, {says}') and 'not UTF-8; save the file' in error
    assert '\n' not in error and len(error) < len(str(file)) + 120
    words = error.removeprefix(str(file)).split()
    assert not set(words) & set(SECRET.split())


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / 'a.csv').write_text('a,b\n1,2\n', encoding='utf-8-sig')
    assert rows(tmp_path / 'a.csv') == [{'a': '1', 'b': '2'}]


@pytest.mark.parametrize(
    ('name', 'content', 'says'),
    [
        ('a.jsonl', '{"a": 1}\n' + '{"a":' * 2000, 'line 2 is not JSON .nested more'),
        ('a.json', '[{"a": 1},\n\n' + '[' * 2000, 'row 2, line 3 is not JSON .nest'),
        (
            'a.jsonl',
            f'{{"a": "{SECRET * 99}',
            'line 1 is not JSON .Unterminated string',
        ),
        (
            'a.jsonl',
            f'"{SECRET * 99}"',
            'line 1 is .patient zebedee confessed patient',
        ),
        ('a.csv', f'a,b\n"{SECRET * 99}"x,1\n', "line 2: ',' expected after '\"'"),
    ],
)
def test_faults_quote_next_to_nothing(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        rows(tmp_path / name)
    assert len(str(caught.value)) < len(str(tmp_path)) + 200


def test_what_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    file = tmp_path / 'a.jsonl'
    file.write_text('{}')

    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr('perl.data.files.packed.open_binary', refuse)
    with pytest.raises(UserError, match=r'a.jsonl cannot be read: Permission denied$'):
        rows(file)
