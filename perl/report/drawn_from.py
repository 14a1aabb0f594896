"""Draws a report again only if its run folder or what was drawn has changed."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable

from perl.system import atomic
from perl.system.environment import SITTINGS
from perl.system.metrics import METRICS
from perl.system.results import RESULTS
from perl.system.samples import SAMPLES


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A page with its pictures and tables.

    Attributes:
        page: the file that must be there.
        digests: the file of digests, which is written when all others are.
        sources: patterns of the files that it is drawn from.
        made: patterns of the files that it consists of, the page among them.
    """

    page: str
    digests: str
    sources: tuple[str, ...]
    made: tuple[str, ...]


REPORT = Drawing(
    page='report.md',
    digests='.report.sha256',
    sources=('config.json', RESULTS, SITTINGS, f'*/{METRICS}', f'*/{SAMPLES}'),
    made=('report.md', 'plots/*.png', 'tables/*.csv'),
)


def evaluation(folder: str) -> Drawing:
    """The report of an evaluation, whose folder has the name of its figures."""
    return Drawing(
        page=f'{folder}/evaluation.md',
        digests=f'{folder}/.drawn.sha256',
        sources=('config.json', f'{folder}.json'),
        made=tuple(f'{folder}/{x}' for x in ('evaluation.md', '*.png', '*.csv')),
    )


def redraw(
    workdir: pathlib.Path,
    write: Callable[[pathlib.Path], object],
    drawing: Drawing = REPORT,
) -> None:
    """Draws, unless the report was drawn from the same files and is still unchanged.

    Files are compared by content, not by time, since a clock may be set back. A kill
    between two files, a lost picture or an emptied table are so noticed.

    Args:
        workdir: the run folder.
        write: draws.
        drawing: what is drawn.
    """
    sources, saved = _digests(workdir, drawing.sources), workdir / drawing.digests
    if (workdir / drawing.page).is_file() and saved.is_file():
        now = sources + _digests(workdir, drawing.made)
        if saved.read_bytes() == now.encode():
            return
    saved.unlink(missing_ok=True)  # they are not valid while the files are written
    write(workdir)
    saved.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(saved, sources + _digests(workdir, drawing.made))


def _digests(workdir, patterns):
    """A line for each file that matches, and an empty one."""
    lines = []
    for file in sorted(x for pattern in patterns for x in workdir.glob(pattern)):
        if file.is_file():
            with file.open('rb') as data:
                content = hashlib.file_digest(data, 'sha256').hexdigest()
            lines.append(f'{content} {file.relative_to(workdir)}\n')
    text = ''.join(lines) + '\n'
    return text.encode('utf-8', 'backslashreplace').decode()
