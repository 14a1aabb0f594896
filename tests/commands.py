"""Runs the commands of the package in separate processes.

They are forked from a server that has already imported the slow modules, so that each
takes tenths of a second instead of seconds. This module must not import an entry
point: the process runs it as its main module.
"""

import asyncio
import dataclasses
import errno
import gc
import itertools
import multiprocessing
import os
import pathlib
import pkgutil
import resource
import runpy
import signal
import socket
import sys
import tempfile

import jax

import perl.report
import perl.system.lock
import perl.system.progress

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'tests' / 'small.py'
# whole packages are named, because a folder's `__init__` may import nothing
_SLOW = (
    'perl.system.cli',
    'perl.config.rules',
    'perl.report.report',
    'perl.stages.table',
    'perl.runs.opening',
    'datasets',
)
_SERVER = multiprocessing.get_context('forkserver')
_SERVER.set_forkserver_preload([*_SLOW, 'ml_collections.config_flags'])


@dataclasses.dataclass(frozen=True)
class Ended:
    """The result of a command: exit code (minus a signal's number), and output."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        """The error line; fails unless the error is one line with exit code 1."""
        lines = self.err.splitlines()
        assert self.code == 1, self
        assert len(lines) == 1 and lines[0].startswith('error: '), self.err
        return lines[0]


def command(module, *args, stdin='', before=None, draw=False):
    """Runs `python -m module args` from the repository root.

    Args:
        module: of the package, or the path of a script such as 'scripts/study.py'.
        args: of the command line.
        stdin: text, or bytes that are not UTF-8.
        before: called in the process before the command, to break something.
        draw: the report too, which takes longer than a small run.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        (folder / '0').write_bytes(data)
        said = [_pipe(folder / name) for name in '12']
        process = _SERVER.Process(
            target=_as_main, args=(module, [str(x) for x in args], folder, before, draw)
        )
        process.start()
        process.join(900)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f'{module} {args} hangs')
        return Ended(process.exitcode, *map(_drain, said))


def _pipe(path):
    os.mkfifo(path)  # a file could not grow where the disk is full
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _drain(pipe):
    with open(pipe, encoding='utf-8') as said:
        return said.read()


def launch(workdir, *args, arg='', **options):
    """Trains in a separate process; `arg` is the text after the config's colon."""
    file = f'{CONFIG}:{arg}' if arg else CONFIG
    where = (f'--config={file}', f'--workdir={workdir}')
    return command('perl.train', *where, *args, **options)


def _as_main(module, args, folder, before, draw):
    gc.freeze()  # as `conftest.py` does
    gc.set_threshold(100_000, 20, 50)
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        os.dup2(os.open(folder / str(number), mode), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.chdir(ROOT)
    sys.argv = [module, *args]
    if not draw:
        perl.report.write = lambda workdir: None
    perl.system.progress.EVERY = float('inf')  # no line that depends on the machine
    if before:
        before()
    if module.endswith('.py'):
        runpy.run_path(module, run_name='__main__')
    else:
        runpy.run_module(module, run_name='__main__', alter_sys=True)


def strike(place, call, number=signal.SIGKILL, after=True):
    """Sends a signal to this process when a function is called.

    Args:
        place: `module` or `module:Class`, and a dot, and the function.
        call: the first, second, ... in this process.
        number: of the signal.
        after: the function has done its work, or has not begun it.
    """
    where, _, name = place.rpartition('.')
    holder = pkgutil.resolve_name(where)
    function = getattr(holder, name)
    calls = itertools.count(1)

    def struck(*args, **kwargs):
        now = next(calls) == call
        if now and not after:
            os.kill(os.getpid(), number)
        returned = function(*args, **kwargs)
        if now and after:
            os.kill(os.getpid(), number)
        return returned

    setattr(holder, name, struck)


def starve(place, limit=64):
    """Simulates a full disk: after a call of a function, no file can grow beyond
    `limit` bytes.

    Args:
        place: as in `strike`.
        limit: in bytes.
    """
    where, _, name = place.rpartition('.')
    holder = pkgutil.resolve_name(where)
    function = getattr(holder, name)

    def starved(*args, **kwargs):
        jax.config.update('jax_enable_compilation_cache', False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        return function(*args, **kwargs)

    setattr(holder, name, starved)


async def _fail():
    raise OSError(errno.ENOSPC, 'No space left on device')


def make_noise():
    """Fails when the run folder is locked, like a checkpoint on a full disk: with a
    task whose error is never retrieved, and a callback into a closed event loop."""

    class Late:
        def __del__(self):
            loop.call_soon_threadsafe(print)

    def noisy(folder):
        late, task = Late(), loop.create_task(_fail())
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()
        del late, task
        raise OSError(errno.ENOSPC, 'No space left on device', str(folder))

    loop = asyncio.new_event_loop()
    perl.system.lock.exclusive = noisy


def close_stdout():
    """Closes the reading end of the output, like `| head` after its last line."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)


CALLS = (
    *('socket.connect', 'socket.sendto', 'socket.sendmsg', 'socket.getaddrinfo'),
    *('socket.gethostbyname', 'socket.gethostbyaddr', 'socket.getnameinfo'),
)


def listen(log):
    """Writes all network calls of this process to a file, also those that fail.

    Args:
        log: a path; `listening`, then the name of each call, a line each.
    """

    def hear(event, args):
        if event in CALLS and getattr(args[0], 'family', None) != socket.AF_UNIX:
            with open(log, 'a') as file:
                print(event, file=file)

    log.write_text('listening\n')
    sys.addaudithook(hear)


def unplug():
    """Makes every connection of this process fail."""

    def refuse(self, address):
        raise AssertionError(f'a call to {address}')

    socket.socket.connect = socket.socket.connect_ex = refuse
    socket.getaddrinfo = lambda *args, **kwargs: refuse(None, args)
