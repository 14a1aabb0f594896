"""One file of comparisons, named by flags."""

import json

import pytest

from perl.data import Comparison
from perl.data.sets.own_files import one_file
from perl.system.errors import UserError

PAIR = {'prompt': 'p', 'chosen': 'a', 'rejected': 'b'}


def write(path, rows):
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def test_the_comparisons_of_one_file_in_its_order(tmp_path):
    rows = [{**PAIR, 'prompt': f'p{i % 2}'} for i in range(4)]
    found = one_file.read_comparisons(write(tmp_path / 'a.jsonl', rows), {})
    assert found == [Comparison(f'p{i % 2}', ('a', 'b')) for i in range(4)]


def test_the_column_of_a_file_of_a_command_is_named_by_its_flag(tmp_path):
    file = write(
        tmp_path / 'a.jsonl', [{'question': 'p', 'chosen': 'a', 'rejected': 'b'}]
    )
    says = "no column 'prompt'.*; name the column of prompt as --columns=prompt=COLUMN$"
    with pytest.raises(UserError, match=says):
        one_file.read_comparisons(file, {})
