"""A value that was changed in a file is noticed, whichever it is."""

import json

import pytest

from perl.system import sealed

VALUES = {'name': 'a', 'numbers': [1, 0.1], 'more': {'on': True, 'none': None}}


def test_what_is_saved_comes_back(tmp_path):
    sealed.save(tmp_path / 'x.json', VALUES)
    assert sealed.load(tmp_path / 'x.json') == VALUES


def test_every_flipped_bit_is_noticed(tmp_path):
    file = tmp_path / 'x.json'
    sealed.save(file, VALUES)
    data = file.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            file.write_bytes(flipped)
            try:
                values = sealed.load(file)
            except ValueError:
                continue
            # another space, or another name for the checksum, which no reader takes
            assert values == VALUES or len(values) > len(VALUES), bytes(flipped)


def test_a_file_of_a_person_has_no_checksum(tmp_path):
    (tmp_path / 'x.json').write_text(json.dumps(VALUES))
    assert sealed.load(tmp_path / 'x.json') == VALUES


@pytest.mark.parametrize('text', ['[]', '3', '', '{"a": ', '{"a":' * 9999])
def test_what_is_no_object(tmp_path, text):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(ValueError):
        sealed.load(tmp_path / 'x.json')
