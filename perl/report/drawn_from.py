"""Whether a report was drawn from what its run folder holds now."""

import hashlib
import pathlib
from collections.abc import Callable

from perl.system import atomic
from perl.system.environment import SITTINGS
from perl.system.metrics import METRICS, RESULTS, SAMPLES

REPORT, DIGEST = 'report.md', '.report.sha256'
_FILES = ('config.json', RESULTS, SITTINGS, f'*/{METRICS}', f'*/{SAMPLES}')


def redraw(workdir: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
    """Draws a report, unless it is there and was drawn from the same files.

    Times are not asked, since a clock may be set back.

    Args:
        workdir: of the run.
        write: draws its report.
    """
    digest, saved = _digest(workdir), workdir / DIGEST
    is_there = (workdir / REPORT).is_file() and saved.is_file()
    if is_there and saved.read_text() == digest:
        return
    saved.unlink(missing_ok=True)  # while it is drawn, it is of nothing
    write(workdir)
    atomic.write_text(saved, digest)


def _digest(workdir):
    sha = hashlib.sha256()
    for file in sorted(x for pattern in _FILES for x in workdir.glob(pattern)):
        with file.open('rb') as data:
            content = hashlib.file_digest(data, 'sha256').hexdigest()
        sha.update(f'{file.relative_to(workdir)} {content}\n'.encode())
    return sha.hexdigest()
