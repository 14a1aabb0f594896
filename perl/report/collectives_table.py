"""What devices send each other in programs, for a person."""

from collections.abc import Sequence
from typing import Any

from perl.report.markdown import Table
from perl.stages.needs import Need
from perl.system.sizes import readable


def collectives_table(rows: Sequence[tuple[str, Need]]) -> Table:
    """The collectives of each program by kind and axes of the mesh.

    Args:
        rows: tuning and need.
    """
    lines = []
    for tuning, need in rows:
        for x in summary(need):
            turn = ' a turn' if x['repeats'] else ''
            lines.append(
                [
                    *(tuning, need.stage, need.program, x['kind'], x['axes']),
                    *(str(x['operations']), f'{x["runs"]:,}{turn}'),
                    *(readable(x['bytes']), readable(x['sent'])),
                ]
            )
    header = ('tuning', 'stage', 'program', 'collective', 'along', 'operations')
    return Table('', (*header, 'runs', 'bytes', 'sent by a device'), lines)


def summary(need: Need) -> list[dict[str, Any]]:
    """The collectives of a program, those of one kind along the same axes together.

    `repeats` tells that they are in a loop whose length the data decide: the figures
    are those of one turn then.
    """
    found: dict[tuple, dict[str, Any]] = {}
    for x in need.collectives:
        names = {'kind': x.kind, 'axes': ', '.join(x.axes), 'repeats': x.repeats}
        zero = dict.fromkeys(('operations', 'runs', 'bytes', 'sent'), 0)
        entry = found.setdefault(tuple(names.values()), names | zero)
        entry['operations'] += 1
        entry['runs'] += x.times
        entry['bytes'] += x.total
        entry['sent'] += x.sent
    return list(found.values())
