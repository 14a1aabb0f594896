"""Draws the reports of a run folder, whatever command has changed it."""

import pathlib

from perl import report
from perl.report import drawn_from, evaluation_report
from perl.system import disk, hosts


def draw(workdir: pathlib.Path) -> None:
    """Draws the reports in the first process, unless they were drawn from what is there
    now; the others wait.

    Raises:
        UserError: they cannot be written.
    """
    hosts.first(lambda: _draw(workdir))


def _draw(workdir):
    try:
        drawn_from.redraw(workdir, report.write)
        evaluation_report.redraw(workdir)
    except OSError as error:
        what = f'could not write the report in {workdir}'
        raise disk.user_error(what, error, 'the results are saved') from error
