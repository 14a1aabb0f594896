"""TFRecord files without TensorFlow: examples come back, damage names the record."""

import gzip
import struct

import numpy as np
import pytest
import released

from perl.data.files import tfrecord
from perl.system.errors import UserError

FEATURES = {'a': [b'x', b''], 'b': [0.5, -1.0], 'c': [3, -2], 'd': []}


def read(path, names='abcd'):
    return list(tfrecord.read(path, set(names), 'https://example.org'))


@pytest.mark.parametrize('zipped', [False, True])
def test_examples_come_back(tmp_path, zipped):
    payloads = [released.example(FEATURES), released.example({'c': [2**62]})]
    path = released.write_records(tmp_path / 'a', payloads, zipped)
    assert read(path) == [FEATURES, {'c': [2**62]}]
    assert read(path, 'b') == [{'b': [0.5, -1.0]}, {}]


def test_values_that_are_not_packed(tmp_path):
    floats = b''.join(b'\x0d' + struct.pack('<f', x) for x in (0.5, 2.0))
    numbers = released.field(1, 7) + released.field(1, -1)
    entries = [('f', released.field(2, floats)), ('i', released.field(3, numbers))]
    content = b''.join(
        released.field(1, released.field(1, name) + released.field(2, feature))
        for name, feature in entries
    )
    path = released.write_records(tmp_path / 'a', [released.field(1, content)])
    assert read(path, 'fi') == [{'f': [0.5, 2.0], 'i': [7, -1]}]


def test_checksum_against_the_standard():
    """CRC-32C of '123456789' is e3069283 (RFC 3720), then TFRecord's mask."""
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert tfrecord._masked_crc(b'123456789') == struct.pack('<I', masked)
    assert released.masked_crc(b'123456789') == masked


def test_damage_names_the_record(tmp_path):
    good = released.example(FEATURES)
    path = released.write_records(tmp_path / 'a', [good, good])
    content = path.read_bytes()
    record = len(content) // 2
    cases = {
        content[:-1]: 'record 2: .*too early',
        content[: record + 5]: 'record 2: .*checksum',
        content[:record] + b'\x01' + content[record + 1 :]: 'record 2: .*checksum',
        b'no such thing at all': 'record 1: damaged, or not a',
        b'\x1f\x8b' + content: 'record 1: damaged, or not a',
    }
    for bad, said in cases.items():
        path.write_bytes(bad)
        with pytest.raises(UserError, match=f'{said}.*again from https://example.org'):
            read(path)
    released.write_records(path, [good, b'\x0a\x05oops'])
    with pytest.raises(UserError, match=r'record 2: .*after its message'):
        read(path)


def test_real_file(shared):
    file = shared / 'data/uibert_refexp/ref_exp/test.tfrecord'
    rows = read(file, {'image/id', 'image/object/num', 'image/object/bbox/xmin'})
    assert len(rows) == 616 == len({row['image/id'][0] for row in rows})
    counts = [len(row['image/object/bbox/xmin']) for row in rows]
    assert counts == [row['image/object/num'][0] for row in rows]
    assert 0 <= np.min([min(row['image/object/bbox/xmin']) for row in rows]) < 1


@pytest.mark.parametrize('zipped', [False, True])
@pytest.mark.parametrize('size', [2**40, 2**63, 2**64 - 1])
def test_a_length_that_no_file_has(tmp_path, size, zipped):
    """What is read is bounded by what there is, not by what the length says."""
    length = struct.pack('<Q', size)
    content = length + struct.pack('<I', released.masked_crc(length)) + b'short'
    path = tmp_path / 'a'
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(UserError, match=f'record 1: .*early, after 5 of {size} bytes'):
        read(path)
