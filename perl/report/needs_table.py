"""The memory that programs need, for a person."""

from collections.abc import Sequence

from perl.report.markdown import Table
from perl.stages.needs import Need
from perl.system.sizes import readable
from perl.system.targets import Target

PARTS = ('frozen', 'trained', 'optimizer', 'cache', 'temporary', 'total')
Rows = Sequence[tuple[str, Need]]


def needs_table(rows: Rows, memory: int | None) -> Table:
    """Bytes of one device by tuning, stage and program.

    Args:
        rows: tuning and need.
        memory: bytes of a device, where they are known.
    """
    full = {(x.stage, x.program): x.total for name, x in rows if name == 'full'}
    lines = []
    for tuning, need in rows:
        sizes = [getattr(need, part) for part in PARTS]
        whole = full.get((need.stage, need.program))
        lines.append(
            [
                *(tuning, need.stage, need.program),
                *(readable(x) if x else '' for x in sizes),
                _share(need.total, memory),
                _share(need.total, whole if tuning != 'full' else None),
            ]
        )
    header = ('tuning', 'stage', 'program', *PARTS, 'of the memory', 'of full')
    return Table('', header, lines)


def verdict(rows: Rows, target: Target) -> str:
    """Whether everything fits, in one line for each tuning."""
    lines = []
    for tuning in dict.fromkeys(name for name, _ in rows):
        name, most = (
            f'{tuning}: ' if tuning else '',
            max((x for other, x in rows if other == tuning), key=lambda x: x.total),
        )
        where = f'{most.stage}, {most.program}: {readable(most.total)}'
        if target.memory is None:
            lines.append(f'{name}the most is {where}')
            continue
        fits = 'all fits' if most.total <= target.memory else 'it does not fit'
        have = f'a device of {target.name} has {readable(target.memory)}'
        lines.append(f'{name}{fits}; the most is {where}, and {have}')
    return '\n'.join(lines)


def _share(size, whole):
    return f'{size / whole:.0%}' if whole else ''
