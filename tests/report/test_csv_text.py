import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.report.csv_text import from_csv, to_csv

FORMULAS = ['=1+1', '+1', '-1', '@x', '\t=1', '\r=1', '\n=1', ' =1', '＝1', '－1']
FORMULAS += ['\ufeff=1', '\u200b=1', '\x00=1', ' \u2060@x']
TEXTS = [
    'a\r\r# WIN RATE 100 %',
    'a\rb',
    '\r\n',
    '"',
    ',',
    "'",
    "''=1",
    '\x00',
    '',
    'é',
]


@pytest.mark.parametrize('text', [*FORMULAS, *TEXTS])
def test_a_text_reads_back_as_it_was(text):
    assert from_csv(to_csv([{'x': text, text: 'y'}])) == [{'x': text, text: 'y'}]


@given(st.lists(st.text(st.characters(exclude_categories=['Cs'])), min_size=1))
def test_every_text_reads_back(texts):
    rows = [{'text': text, 'n': 1} for text in texts]
    assert from_csv(to_csv(rows)) == [{'text': text, 'n': '1'} for text in texts]


@pytest.mark.parametrize('text', FORMULAS)
def test_no_cell_is_a_formula(text):
    """As a spreadsheet sees it, which knows nothing of the apostrophe's meaning."""
    (names, cells) = csv.reader(io.StringIO(to_csv([{text: text}]), newline=''))
    assert names == cells == ["'" + text]


def test_numbers_stay_numbers():
    text = to_csv([{'a': -0.5, 'b': None}, {'a': 1e-7, 'c': True}])
    assert text == '"a","b","c"\n-0.5,"",""\n1e-07,"",True\n'
