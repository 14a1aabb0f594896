"""The table of a stage's samples."""

from collections.abc import Sequence
from typing import Any

from perl.report.formatting import number
from perl.report.markdown import Table, cell
from perl.report.tables import WIDTH
from perl.report.values import is_number

_ALONE = 'prompt', 'response'  # columns of samples without a reference


def samples(rows: Sequence[dict[str, Any]], shown: int) -> Table:
    """Responses before and after, from the largest loss to the largest gain; the
    responses alone where there are none from before."""
    if not any('reference' in row for row in rows):
        pairs = [[cell(row.get(x), WIDTH) for x in _ALONE] for row in rows[:shown]]
        return Table('Samples', _ALONE, pairs)
    rows = sorted(rows, key=_gain)
    if len(rows) > shown:
        rows = [rows[i * (len(rows) - 1) // (shown - 1)] for i in range(shown)]
    header = ('prompt', 'before', 'after', 'gold reward', 'reward')
    table = [
        [
            *(cell(row.get(x), WIDTH) for x in ('prompt', 'reference', 'response')),
            *(_pair(row, name) for name in ('gold', 'reward')),
        ]
        for row in rows
    ]
    return Table('Samples', header, table)


def _pair(row, name):
    pair = row.get(f'{name}_reference'), row.get(name)
    return ' → '.join(filter(None, (number(x, 2) for x in pair)))


def _gain(row):
    for name in ('gold', 'reward'):
        pair = row.get(name), row.get(f'{name}_reference')
        if all(map(is_number, pair)):
            return pair[0] - pair[1]
    return row['reward'] if is_number(row.get('reward')) else 0.0
