"""Rewrites a report only if the files of its run folder have changed."""

import hashlib
import pathlib
from collections.abc import Callable

from perl.system import atomic
from perl.system.environment import SITTINGS
from perl.system.metrics import METRICS, RESULTS, SAMPLES

REPORT, DIGEST = 'report.md', '.report.sha256'
_FILES = ('config.json', RESULTS, SITTINGS, f'*/{METRICS}', f'*/{SAMPLES}')


def redraw(workdir: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
    """Writes a report, unless it exists and was made from the same files.

    Files are compared by content, not by time, since a clock may be set back.

    Args:
        workdir: the run folder.
        write: writes the report.
    """
    digest, saved = _digest(workdir), workdir / DIGEST
    is_there = (workdir / REPORT).is_file() and saved.is_file()
    if is_there and saved.read_text() == digest:
        return
    saved.unlink(missing_ok=True)  # the digest is not valid while the report is written
    write(workdir)
    atomic.write_text(saved, digest)


def _digest(workdir):
    sha = hashlib.sha256()
    for file in sorted(x for pattern in _FILES for x in workdir.glob(pattern)):
        with file.open('rb') as data:
            content = hashlib.file_digest(data, 'sha256').hexdigest()
        sha.update(f'{file.relative_to(workdir)} {content}\n'.encode())
    return sha.hexdigest()
