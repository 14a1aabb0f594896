"""Features of a record by type."""

import pytest
import released

from perl.data.files import features
from perl.system.errors import UserError

VALUES = {'text': ['é'], 'number': [3], 'floats': [0.5, 1.0], 'two': ['a', 'b']}


@pytest.fixture
def record(tmp_path):
    file = released.write_records(tmp_path / 'a', [released.example(VALUES)])
    (only,) = features.read(file, VALUES, 'https://example.org')
    return only


def test_values_by_type(record):
    assert (record.text('text'), record.integer('number')) == ('é', 3)
    assert record.texts('two') == ['a', 'b'] and record.all_bytes('two') == [b'a', b'b']
    assert record.numbers('floats') == [0.5, 1.0] and record.numbers('none') == []


@pytest.mark.parametrize(
    ('take', 'says'),
    [
        (lambda r: r.text('number'), 'number are not byte strings'),
        (lambda r: r.integer('text'), 'text are not integers'),
        (lambda r: r.integer('floats'), 'floats are not integers'),
        (lambda r: r.numbers('two'), 'two are not numbers'),
        (lambda r: r.text('two'), 'it has 2 values of two, not one'),
        (lambda r: r.text('none'), 'it has 0 values of none, not one'),
    ],
)
def test_values_of_another_type(record, take, says):
    with pytest.raises(UserError, match=f'a, record 1: {says}; get the file again'):
        take(record)
