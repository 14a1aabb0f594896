"""Files are whole or not there, and nobody's temporary files stay."""

import errno
import multiprocessing
import os
import signal

import pytest

from perl.system import atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_text_replaces_the_old_one(tmp_path):
    file = tmp_path / 'x.md'
    for text in ('old and long', 'ü\r\nhalf \ud800'):
        atomic.write_text(file, text)
    assert file.read_bytes() == b'\xc3\xbc\r\nhalf \\ud800'
    atomic.write_bytes(file, b'\x00')
    assert file.read_bytes() == b'\x00'
    assert names(tmp_path) == ['x.md']


def test_a_library_may_leave_what_it_likes_beside_it(tmp_path):
    with atomic.replacing(tmp_path / 'x.png') as new:
        assert new.name == 'x.png'
        (new.parent / '.tmpAbC').write_text('left')
        new.write_text('whole')
    assert names(tmp_path) == ['x.png']


@pytest.mark.parametrize('error', [KeyError, KeyboardInterrupt])
def test_after_an_error_the_file_is_as_it_was(tmp_path, error):
    (tmp_path / 'x').write_text('old')
    with pytest.raises(error), atomic.replacing(tmp_path / 'x') as new:
        new.write_text('half of the n')
        raise error
    assert (tmp_path / 'x').read_text() == 'old'
    assert names(tmp_path) == ['x']


def test_a_full_disk_is_said_of_the_file(tmp_path, monkeypatch):
    (tmp_path / 'x').write_text('old')

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left on device') as raised:
        atomic.write_text(tmp_path / 'x', 'new')
    assert raised.value.filename == str(tmp_path / 'x')
    assert raised.value.errno == errno.ENOSPC
    assert (tmp_path / 'x').read_text() == 'old'
    assert names(tmp_path) == ['x']


def test_a_missing_folder_is_said_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        atomic.write_text(tmp_path / 'no' / 'x', '')
    assert raised.value.filename == str(tmp_path / 'no' / 'x')


def write_and_wait(file, begun):
    with atomic.replacing(file) as new:
        new.write_text('half of the n')
        begun.set()
        signal.pause()


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing `tmp_path / 'x'`."""
    context = multiprocessing.get_context('forkserver')
    begun = context.Event()
    process = context.Process(target=write_and_wait, args=(tmp_path / 'x', begun))
    process.start()
    assert begun.wait(60)
    yield process
    process.kill()
    process.join()


@pytest.mark.parametrize('later', ['another write', 'a sweep'])
def test_what_a_killed_process_left_is_swept(tmp_path, writer, later):
    (tmp_path / '.writing-file').write_text('not a folder, so not one of these')

    def next_process():
        if later == 'a sweep':
            atomic.sweep_below(tmp_path.parent)
        else:
            atomic.write_text(tmp_path / 'y', '')

    next_process()
    assert len([x for x in tmp_path.glob('.writing-*') if x.is_dir()]) == 1
    writer.kill()
    writer.join()
    next_process()
    assert {*names(tmp_path)} - {'y'} == {'.writing-file'}


def test_a_disk_without_locks(tmp_path, monkeypatch):
    def flock(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(atomic.fcntl, 'flock', flock)
    new, old = tmp_path / '.writing-new', tmp_path / '.writing-old'
    for folder, age in ((new, 0), (old, 10**5)):
        folder.mkdir()
        now = folder.stat().st_mtime
        os.utime(folder, (now - age, now - age))
    atomic.write_text(tmp_path / 'x', 'text')
    assert names(tmp_path) == ['.writing-new', 'x']
