"""One process at a time in a run folder, however the one before it ended."""

import errno
import fcntl
import multiprocessing
import os
import shutil

import pytest
import runs

from perl import check
from perl.system.errors import UserError
from perl.system.lock import LOCK, exclusive, exclusive_file, exclusive_files


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


@pytest.mark.parametrize(
    ('name', 'why'), [('run', 'File exists'), ('run/below', 'Not a directory')]
)
def test_a_file_in_its_place_is_named(tmp_path, name, why):
    """Nothing was there, so nobody is told that it was removed."""
    (tmp_path / 'run').touch()
    says = f'^--workdir: the folder .*/{name} cannot be made: {why}; name another$'
    with pytest.raises(UserError, match=says), exclusive(tmp_path / name):
        pass


def test_a_folder_that_is_removed_is_noticed(tmp_path):
    workdir = tmp_path / 'run'
    with exclusive(workdir) as held:
        held.check()
        shutil.rmtree(workdir)
        with pytest.raises(UserError, match=f'{workdir} was removed or moved'):
            held.check()
        workdir.mkdir()
        (workdir / '.lock').touch()  # by another process
        with pytest.raises(UserError, match='removed or moved'):
            held.check()


def test_a_folder_that_cannot_be_locked_is_not_called_removed(tmp_path):
    (tmp_path / 'run' / LOCK).mkdir(parents=True)
    with exclusive(tmp_path / 'run') as held:
        held.check()


def test_one_process_at_an_output_file(tmp_path):
    file = tmp_path / 'new' / 'labels.jsonl'
    with exclusive_file(file):
        said = f'{file} is being written by another process; .* another file'
        with pytest.raises(UserError, match=said), exclusive_file(file):
            pass
        with exclusive_file(file.with_name('other.jsonl')):
            pass
        file.touch()
    assert os.listdir(file.parent) == ['labels.jsonl']
    with exclusive_file(file):
        pass


def test_of_several_files_each_is_locked_and_released(tmp_path):
    """Evaluations of two splits at once, which share the answers of a judge."""
    one, shared, other = (tmp_path / name for name in ('a.json', 'b.jsonl', 'c.json'))
    with exclusive_files(one, shared):
        with (
            pytest.raises(UserError, match=r'b\.jsonl is being written by another'),
            exclusive_files(other, shared),
        ):
            pass
        with exclusive_files(other):
            pass
    with exclusive_files(other, shared):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_removed_as_it_was_opened_is_not_held(tmp_path, monkeypatch):
    """The process before removed the lock's file between the opening and the lock."""
    file, flock, times = tmp_path / 'x', fcntl.flock, []

    def removing(handle, how):
        times.append(how)
        if len(times) == 1:
            (tmp_path / '.x.lock').unlink()
        flock(handle, how)

    monkeypatch.setattr(fcntl, 'flock', removing)
    with exclusive_file(file):
        assert len(times) == 2
        with pytest.raises(UserError), exclusive_file(file):
            pass
