"""The figures of an evaluation as rows, for one CSV file per table."""

from collections.abc import Mapping
from typing import Any

from perl.report.tables import flat

Rows = list[dict[str, Any]]
# parts of an evaluation that are not figures of a stage or a comparison
APART = ('frontier', 'best_of_n', 'split', 'computed')
_TABLES = ('by_margin', 'by_group', 'strata', 'curve')  # written as separate tables


def reward_models(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of each reward model."""
    return {name: x for name, x in _figures(found).items() if 'by_margin' in x}


def comparisons(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of each comparison of two policies."""
    return {name: x for name, x in _figures(found).items() if 'win_rate' in x}


def rows_by_table(found: Mapping[str, Any]) -> dict[str, Rows]:
    """The rows of every table of an evaluation, by the table's name."""
    models, policies = reward_models(found), comparisons(found)
    return {
        'reward_models': [_row(name, x) for name, x in models.items()],
        'policies': [_row(name, x) for name, x in policies.items()],
        'reliability': _reliability(models),
        'buckets': _buckets(models),
        'win_rate_by_length': [
            {'comparison': name} | flat(row)
            for name, x in policies.items()
            for row in x.get('length_control', {}).get('strata', ())
        ],
        **_frontier(found.get('frontier') or {}),
        **_best_of_n(found.get('best_of_n') or {}),
    }


def _figures(found):
    return {
        name: x
        for name, x in found.items()
        if name not in APART and isinstance(x, dict)
    }


def _row(name, figures):
    """Figures as one row, without those that are separate tables."""

    def without_tables(value):
        if isinstance(value, dict):
            items = value.items()
            return {key: without_tables(x) for key, x in items if key not in _TABLES}
        return value

    return {'name': name} | flat(without_tables(figures))


def _reliability(models) -> Rows:
    return [
        {'stage': stage, 'temperature': when} | flat(row)
        for stage, x in models.items()
        if 'calibration' in x
        for when in ('before', 'after')
        for row in x['calibration'][when]['curve']
    ]


def _buckets(models) -> Rows:
    return [
        {'stage': stage, 'by': by} | flat(row)
        for stage, x in models.items()
        for by, rows in {'margin': x['by_margin'], **x['by_group']}.items()
        for row in rows
    ]


def _frontier(found) -> dict[str, Rows]:
    policies = found.get('policies', [])
    return {
        'frontier': [
            {'policy': policy['label']} | row
            for policy in policies
            for row in policy['points']
        ],
        'optimisation': [
            {'policy': policy['label'], 'reward': name} | flat(curve['fit'])
            for policy in policies
            for name, curve in policy['curves'].items()
        ],
    }


def _best_of_n(found) -> dict[str, Rows]:
    curves = found.get('curves', {})
    return {
        'best_of_n': [
            {'reward': name, 'n': n, 'kl': kl, 'gain': gain}
            for name, curve in curves.items()
            for n, kl, gain in zip(
                found['sizes'], curve['kl'], curve['gain'], strict=True
            )
        ],
        'best_of_n_fits': [
            {'reward': name} | flat(curve['fit']) for name, curve in curves.items()
        ],
    }
