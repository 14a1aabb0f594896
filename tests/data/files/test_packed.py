"""Gzipped files are unpacked, but not without a bound."""

import gzip

import pytest

from perl.data.files import packed
from perl.system.errors import UserError


def content(file):
    with packed.open_binary(file) as opened:
        return opened.read()


def test_gzip_is_known_by_its_content(tmp_path):
    for name in ('a.jsonl', 'a.jsonl.gz'):
        (tmp_path / name).write_bytes(gzip.compress(b'text'))
        assert content(tmp_path / name) == b'text'
    (tmp_path / 'b.gz').write_bytes(b'not packed')
    assert content(tmp_path / 'b.gz') == b'not packed'
    (tmp_path / 'empty').write_bytes(b'')
    assert content(tmp_path / 'empty') == b''


def test_a_small_file_of_much_content_is_refused(tmp_path, monkeypatch):
    file = tmp_path / 'a.jsonl.gz'
    file.write_bytes(gzip.compress(b' ' * 2**20))
    assert len(content(file)) == 2**20, 'small files may unpack to anything'
    monkeypatch.setattr(packed, 'SMALL', 2**10)
    with pytest.raises(UserError, match=r'a.jsonl.gz has 1.0 KiB and unpacks to more'):
        packed.open_binary(file)


def test_nothing_is_held_while_a_file_is_measured(tmp_path, monkeypatch):
    """It is refused after `SMALL` bytes, which are read a chunk at a time."""
    file = tmp_path / 'a.jsonl.gz'
    file.write_bytes(gzip.compress(bytes(2**26)))
    monkeypatch.setattr(packed, 'SMALL', 2**25)
    sizes = []
    read = gzip.GzipFile.read

    def reading(self, size=-1):
        sizes.append(size)
        return read(self, size)

    monkeypatch.setattr(gzip.GzipFile, 'read', reading)
    with pytest.raises(UserError, match=r'more than 32\.0 MiB, over 100 times as much'):
        packed.open_binary(file)
    assert max(sizes) <= 2**20 and len(sizes) <= 2**25 / 2**20 + 1
