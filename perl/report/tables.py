"""Tables of a report: figures as people write them, Markdown, and CSV."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

from perl.report.recorded import Recorded, interval, is_number, seconds
from perl.report.wording import (
    amount,
    count,
    duration,
    number,
    text,
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A titled table of strings.

    Attributes:
        title: in the report.
        header: of each column, with units.
        rows: `[rows][columns]`; '' where a figure is missing.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As a Markdown table, without the columns that are empty."""
        full = [i for i in range(len(self.header)) if any(row[i] for row in self.rows)]
        lines = [[self.header[i] for i in full], [':--'] * len(full)]
        lines += [[row[i] or '–' for i in full] for row in self.rows]
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'

    def across(self) -> 'Table':
        """Rows as columns: a few long rows side by side."""
        names, *rows = zip(self.header, *self.rows, strict=True)
        return Table(self.title, names, [row for row in rows if any(row[1:])])


def reward(recorded: Recorded) -> Table:
    """Held-out figures of each reward model, side by side."""
    header = (
        'stage',
        'tuning',
        'accuracy [95 %]',
        'balanced accuracy [95 %]',
        'AUC [95 %]',
        'held-out examples',
        *_COST,
    )
    rows = []
    for stage in recorded.stages('reward'):
        figures = recorded.results.get(stage, {})
        row = [stage, str(figures.get('tuning', ''))]
        row += [percent(figures, name) for name in ('accuracy', 'balanced_accuracy')]
        row += [with_interval(figures, 'auc'), count(figures.get('n'))]
        rows.append(row + _cost(recorded, stage))
    return Table('Reward models', header, rows)


def policy(recorded: Recorded) -> Table:
    """What reinforcement learning did to each policy, on held-out prompts."""
    header = (
        'stage',
        'tuning',
        'true reward before → after [95 %]',
        'reward before → after [95 %]',
        'KL to the reference, nats',
        'win rate [95 %]',
        'won / tied / lost',
        'tokens a response before → after',
        *_COST,
    )
    rows = []
    for stage in recorded.stages('policy', 'dpo'):
        figures = recorded.results.get(stage, {})
        games = [count(figures.get(name)) for name in ('wins', 'ties', 'losses')]
        how = [figures.get('algorithm'), figures.get('tuning')]
        row = [stage, ', '.join(str(x) for x in how if x)]
        row += [_moved(figures, 'gold'), _moved(figures, 'reward')]
        row += [number(figures.get('kl')), percent(figures, 'win_rate')]
        row += [' / '.join(games) if all(games) else '']
        lengths = ('response_length_before', 'response_length')
        row += [' → '.join(filter(None, (number(figures.get(x)) for x in lengths)))]
        rows.append(row + _cost(recorded, stage))
    return Table('Policies', header, rows)


def language(recorded: Recorded) -> Table:
    """Loss and perplexity of pre-training and SFT."""
    header = ('stage', 'tuning', 'held-out loss, nats a token', 'perplexity', *_COST)
    rows = []
    for stage in recorded.stages('pretrain', 'sft'):
        figures = recorded.results.get(stage, {})
        losses = [figures.get(name) for name in ('val_loss', 'loss')]
        loss = next(filter(is_number, losses), None)
        row = [stage, str(figures.get('tuning', '')), number(loss)]
        row += [number(math.exp(min(loss, 50.0))) if loss is not None else '']
        rows.append(row + _cost(recorded, stage))
    return Table('Language modelling', header, rows)


def samples(rows: Sequence[dict[str, Any]], shown: int, width: int = 320) -> Table:
    """Responses before and after, from the largest loss to the largest gain."""
    rows = sorted(rows, key=_gain)
    if len(rows) > shown:
        rows = [rows[i * (len(rows) - 1) // (shown - 1)] for i in range(shown)]
    header = ('prompt', 'before', 'after', 'true reward', 'reward')
    table = [
        [
            *(text(row.get(x), width) for x in ('prompt', 'reference', 'response')),
            *(_pair(row, name) for name in ('gold', 'reward')),
        ]
        for row in rows
    ]
    return Table('Samples', header, table)


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV, one column for every key of any of them."""
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def flat(value: Any, name: str = '') -> dict[str, Any]:
    """Nested figures as one row, names joined by dots."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        parts = [flat(x, f'{name}.{key}' if name else str(key)) for key, x in items]
        return {key: x for part in parts for key, x in part.items()}
    return {name: value}


def percent(figures: dict[str, Any], name: str) -> str:
    """A share and its interval, where it has one, in percent."""
    if not is_number(figures.get(name)):
        return ''
    around = interval(figures, name)
    low_high = f' [{100 * around[0]:.1f}, {100 * around[1]:.1f}]' if around else ''
    return f'{100 * figures[name]:.1f} %{low_high}'


def with_interval(figures: dict[str, Any], name: str) -> str:
    """A figure and its interval, where it has one."""
    around = interval(figures, name)
    low_high = f' [{around[0]:.3f}, {around[1]:.3f}]' if around else ''
    return f'{figures[name]:.3f}{low_high}' if is_number(figures.get(name)) else ''


_COST = (
    'trainable parameters',
    'trainable share',
    'memory of a step',
    'memory of the process, peak',
    'time',
)


def _cost(recorded, stage):
    figures = recorded.results.get(stage, {})
    share = figures.get('trainable_share')
    return [
        count(figures.get('trainable')),
        f'{100 * share:.3g} %' if is_number(share) else '',
        *(amount(figures.get(name)) for name in ('step_bytes', 'peak_bytes')),
        duration(seconds(recorded, stage)),
    ]


def _moved(figures, name):
    before, after = (figures.get(f'{name}_{when}') for when in ('before', 'after'))
    if not (is_number(before) or is_number(after)):
        return ''
    around = interval(figures, name)
    low_high = f' [{number(around[0])}, {number(around[1])}]' if around else ''
    return f'{number(before) or "?"} → {number(after) or "?"}{low_high}'


def _pair(row, name):
    before, after = number(row.get(f'{name}_reference')), number(row.get(name))
    return ' → '.join(filter(None, (before, after)))


def _gain(row):
    for name in ('gold', 'reward'):
        pair = row.get(name), row.get(f'{name}_reference')
        if all(map(is_number, pair)):
            return pair[0] - pair[1]
    return row['reward'] if is_number(row.get('reward')) else 0.0
