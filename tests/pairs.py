"""Runs a command as two processes that compute one run, over the loopback."""

import concurrent.futures
import functools
import os
import pathlib
import re
import socket
import sys

from commands import launch

from perl.data import batching

DEVICES = 2  # of each process
WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
CHANGES = ('os.rename', 'os.remove', 'os.rmdir', 'os.truncate', 'os.link')


def pair(workdir, *args, before=(None, None), own=((), ()), **options):
    """Trains as two processes with two devices each; their results, process 0 first.

    Args:
        workdir: of both; two folders where each has its own.
        args: of both command lines.
        before: for each process what is called in it before the command.
        own: for each process further arguments.
    """
    workdirs = workdir if isinstance(workdir, tuple) else (workdir, workdir)
    where = f'--coordinator=127.0.0.1:{free_port()}', '--processes=2'
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        ended = [
            threads.submit(
                launch,
                workdirs[i],
                *(*where, f'--process={i}', '--config.mesh.data=4', *args, *own[i]),
                before=functools.partial(begin, before[i]),
                **options,
            )
            for i in range(2)
        ]
    return [x.result() for x in ended]


def begin(before):
    """Gives this process its devices, and calls `before` if there is one."""
    count = '--xla_force_host_platform_device_count='
    flags = re.sub(rf'{count}\d+', f'{count}{DEVICES}', os.environ['XLA_FLAGS'])
    os.environ['XLA_FLAGS'] = flags
    if before:
        before()


def free_port():
    """A port of the loopback that nobody uses now."""
    with socket.socket() as listening:
        listening.bind(('127.0.0.1', 0))
        return listening.getsockname()[1]


def said(text):
    """The lines of an output without those of the library below JAX."""
    return [x for x in text.splitlines() if not x.startswith('[Gloo]')]


def errors(text):
    """The error lines of an output. JAX may have written others before the process was
    ended: it hears of an end at about the same time."""
    return [x for x in text.splitlines() if x.startswith('error: ')]


def note(workdir, log):
    """Writes logs of what this process changes in a folder, and which rows it makes."""
    note_changes(workdir, log.with_suffix('.changes'))
    note_rows(log.with_suffix('.rows'))


def note_changes(folder, log):
    """Writes the path of every file that this process changes in a folder to a log."""
    folder = pathlib.Path(folder).resolve()
    log.touch()

    def hear(event, args):
        changes = event in CHANGES
        changes |= event == 'open' and bool(args[2] and args[2] & WRITING)
        if changes and isinstance(args[0], str | os.PathLike):
            path = pathlib.Path(args[0]).absolute()
            if path.is_relative_to(folder):
                with open(log, 'a') as out:
                    print(event, path.relative_to(folder), file=out)

    sys.addaudithook(hear)


def note_rows(log):
    """Writes which rows this process makes of batches that it makes a part of."""
    collate = batching.collate

    def noting(examples, indices, *args, own=None, **options):
        if own is not None and len(own) < len(indices):
            with open(log, 'a') as out:
                print(*own, 'of', len(indices), file=out)
        return collate(examples, indices, *args, own=own, **options)

    batching.collate = noting
