"""The tables of a run's report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from perl.report import reward_figures
from perl.report.formatting import (
    amount,
    change,
    count,
    duration,
    number,
    percent,
)
from perl.report.judge import win_rate
from perl.report.markdown import Table, cell, inert
from perl.report.reward_columns import columns
from perl.report.run_folder import RunFolder, seconds
from perl.report.values import interval, is_number

SITTINGS = 10  # most processes to list; the latest are listed
WIDTH = 320  # most characters of a sample to show
_STEP_MEMORY = 'memory of one step, as it was compiled'
_STAGE_MEMORY = 'largest memory in use during the stage'
_RUN_MEMORY = 'largest memory in use since the process began'


def reward_models(run: RunFolder) -> list[Table]:
    """Held-out figures of the reward models, side by side: one table for comparisons,
    and one for ratings."""
    models = {stage: run.results.get(stage, {}) for stage in run.stages('reward')}
    return [_reward_models(run, *x) for x in reward_figures.by_kind(models).items()]


def _reward_models(run, kind, models):
    titles, cells = columns(models)
    header = [
        'stage',
        'tuning',
        'held-out examples (test split)',
        *titles,
        *_cost_header(run),
    ]
    rows = [
        [
            inert(stage),
            inert(figures.get('tuning', '')),
            count(figures.get('n')),
            *cells[stage],
            *_cost(run, stage),
        ]
        for stage, figures in models.items()
    ]
    return Table(f'Reward models on {reward_figures.KINDS[kind]}', header, rows)


def policies(run: RunFolder) -> Table:
    """Figures of each policy before and after training, on held-out prompts."""
    header = (
        'stage',
        'tuning',
        'held-out prompts (test split)',
        'independent groups (prompts, dialogs)',
        'gold reward before → after [95 %]',
        'reward before → after [95 %]',
        'KL to the reference, nats',
        'win rate [95 %] and who judged',
        'won / tied / lost',
        'tokens a response before → after',
        'responses without an end, cut at the limit',
        *_cost_header(run),
    )
    rows = [_policy(run, stage) for stage in run.stages('policy', 'dpo')]
    return Table('Policies', header, rows)


def _policy(run, stage):
    figures = run.results.get(stage, {})
    games = [count(figures.get(name)) for name in ('wins', 'ties', 'losses')]
    how = figures.get('algorithm'), figures.get('tuning')
    lengths = (figures.get(f'response_length{x}') for x in ('_before', ''))
    return [
        inert(stage),
        inert(', '.join(str(x) for x in how if x)),
        *(count(figures.get(name)) for name in ('prompts', 'clusters')),
        *(_moved(figures, name) for name in ('gold', 'reward')),
        number(figures.get('kl'), 2),
        win_rate(figures, run.trained_by(stage)),
        ' / '.join(games) if all(games) else '',
        ' → '.join(filter(None, (number(x, 2) for x in lengths))),
        percent(figures, 'no_eos'),
        *_cost(run, stage),
    ]


def language(run: RunFolder) -> Table:
    """Loss and perplexity of pre-training and SFT."""
    header = (
        'stage',
        'tuning',
        'held-out loss (validation split), nats a token',
        'perplexity',
        *_cost_header(run),
    )
    rows = []
    for stage in run.stages('pretrain', 'sft'):
        figures = run.results.get(stage, {})
        losses = [row.get('val_loss') for row in run.metrics.get(stage, [])]
        losses = [figures.get('val_loss'), figures.get('loss'), *reversed(losses)]
        loss = next(filter(is_number, losses), None)
        row = [inert(stage), inert(figures.get('tuning', '')), number(loss)]
        row += [number(math.exp(min(loss, 50.0))) if loss is not None else '']
        rows.append(row + _cost(run, stage))
    return Table('Language modelling', header, rows)


def sittings(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Where, when and with which versions a run was computed, one row per process."""
    header = (
        'date',
        'command',
        'version',
        'commit',
        'host',
        'cores',
        'device',
        'python, jax',
    )
    table = []
    for row in rows[-SITTINGS:]:
        commit, devices = str(row.get('commit') or ''), row.get('devices')
        changed = ', with changes' if commit.endswith('+') else ''
        device = [count(devices) if devices != 1 else '', str(row.get('device') or '')]
        texts = (
            row.get('date'),
            row.get('command'),
            row.get('perl'),
            commit.rstrip('+') + changed,
            row.get('host'),
            count(row.get('cores')),
            ' '.join(filter(None, device)),
            ', '.join(str(row[x]) for x in ('python', 'jax') if row.get(x)),
        )
        table.append([cell(text, WIDTH) for text in texts])
    return Table('Where it was computed', header, table)


def flat(value: Any, name: str = '') -> dict[str, Any]:
    """Nested figures as one row; names are joined by dots."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        parts = [flat(x, f'{name}.{key}' if name else str(key)) for key, x in items]
        return {key: x for part in parts for key, x in part.items()}
    return {name: value}


def _cost_header(run):
    """The titles of `_cost`; old runs have no `sittings`, and memory of the run."""
    memory = _STAGE_MEMORY if run.sittings else _RUN_MEMORY
    return 'trainable parameters', 'trainable share', _STEP_MEMORY, memory, 'time'


def _cost(run, stage):
    figures = run.results.get(stage, {})
    share = figures.get('trainable_share')
    return [
        count(figures.get('trainable')),
        f'{100 * share:.3g} %' if is_number(share) else '',
        *(amount(figures.get(name)) for name in ('step_bytes', 'peak_bytes')),
        duration(seconds(run, stage)),
    ]


def _moved(figures, name):
    before, after = (figures.get(f'{name}_{when}') for when in ('before', 'after'))
    return change(before, after, interval(figures, name))
