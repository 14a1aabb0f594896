"""One process at a time in a run folder, however the one before it ended."""

import errno
import fcntl
import multiprocessing
import os

import pytest
import runs

from perl import check
from perl.system.errors import UserError
from perl.system.lock import exclusive, exclusive_file


def hold(workdir, held):
    with exclusive(workdir):
        held.set()
        multiprocessing.Event().wait()


@pytest.fixture
def other(tmp_path):
    """Another process at work in `tmp_path / 'run'`."""
    spawn = multiprocessing.get_context('forkserver')
    held = spawn.Event()
    process = spawn.Process(target=hold, args=(tmp_path / 'run', held))
    process.start()
    assert held.wait(60)
    yield process
    process.kill()
    process.join()


def test_another_process_is_refused_until_the_first_is_killed(tmp_path, other):
    workdir = tmp_path / 'run'
    with pytest.raises(UserError, match=f'{workdir} is in use by another process'):
        runs.run(runs.config(), workdir)
    assert os.listdir(workdir) == ['.lock']
    check.check(runs.config(), workdir)
    other.kill()
    other.join()
    with exclusive(workdir):
        pass


def test_one_after_the_other(tmp_path):
    for _ in range(2):
        with exclusive(tmp_path), pytest.raises(UserError), exclusive(tmp_path):
            pass


def test_a_new_folder_stays_if_something_was_begun(tmp_path):
    with exclusive(tmp_path / 'a' / 'b'):
        pass
    assert os.listdir(tmp_path / 'a') == []
    with pytest.raises(KeyError), exclusive(tmp_path / 'a'):
        (tmp_path / 'a' / 'x').touch()
        raise KeyError
    assert sorted(os.listdir(tmp_path / 'a')) == ['.lock', 'x']


def test_a_disk_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, 'flock', flock)
    with exclusive(tmp_path), exclusive(tmp_path):
        pass


def test_a_file_in_its_place_is_no_obstacle(tmp_path):
    (tmp_path / 'run').touch()
    with exclusive(tmp_path / 'run'):
        pass


def test_a_file_is_held_by_one_at_a_time(tmp_path):
    file = tmp_path / 'new' / 'labels.jsonl'
    for _ in range(2):
        refused = pytest.raises(UserError, match='by another process')
        with exclusive_file(file), refused, exclusive_file(file):
            pass
        assert os.listdir(tmp_path) == []


def test_a_lock_that_a_kill_left_holds_nobody_back(tmp_path):
    (tmp_path / '.a.lock').touch()
    with exclusive_file(tmp_path / 'a'):
        pass
    assert os.listdir(tmp_path) == []


def test_another_file_is_free(tmp_path):
    with exclusive_file(tmp_path / 'a'), exclusive_file(tmp_path / 'b'):
        pass
