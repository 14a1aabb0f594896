"""The columns that all tables of reward models have: accuracies beside baselines."""

from collections.abc import Mapping
from typing import Any

from perl.evaluation.figures.against_baselines import verdict
from perl.report import reward_figures
from perl.report.formatting import count, percent, with_interval
from perl.report.markdown import inert
from perl.report.values import interval, is_number

Figures = Mapping[str, Any]


def columns(models: Mapping[str, Figures]) -> tuple[list[str], dict[str, list[str]]]:
    """The titles of the columns, and the cells of each reward model by its name.

    Args:
        models: the figures of reward models on comparisons, or of those on ratings.
    """
    simple = {stage: _simple_models(figures) for stage, figures in models.items()}
    names = sorted({name for row in simple.values() for name in row})
    titles = [
        'independent groups (prompts, dialogs)',
        'labelled ties, left out',
        'accuracy [95 %]',
        'balanced accuracy [95 %]',
        'AUC [95 %]',
        *(f'baseline: {name}' for name in names),
        'best baseline',
        'difference to it [95 %]',
    ]
    cells = {
        stage: [
            *(count(figures.get(x)) for x in ('clusters', 'labelled_ties')),
            *(percent(figures, x) for x in ('accuracy', 'balanced_accuracy')),
            with_interval(figures, 'auc'),
            *(simple[stage].get(name, '') for name in names),
            *_best_baseline(figures.get('best_baseline')),
        ]
        for stage, figures in models.items()
    }
    return titles, cells


def _simple_models(figures: Mapping[str, Any]) -> dict[str, str]:
    """The accuracy of each baseline of a reward model, by its name and rule."""
    rows = dict(reward_figures.baselines(figures))
    chance = reward_figures.chance(figures)
    if chance and chance[1] not in rows:
        rows = {chance[1]: {'accuracy': chance[0], 'n': figures.get('n')}, **rows}
    texts = {}
    for name, row in rows.items():
        rule = f' ({row["rule"]})' if row.get('rule') else ''
        area = with_interval(row, 'auc')
        area = f', AUC {area}' if area else ''
        texts[inert(name.replace('_', ' ') + rule)] = percent(row, 'accuracy') + area
    return texts


def _best_baseline(best: Mapping[str, Any] | None) -> tuple[str, str]:
    """The name of the best baseline, and the model's difference with a verdict."""
    if not (isinstance(best, dict) and is_number(best.get('difference'))):
        return '', ''
    known = interval(best, 'difference')
    words = verdict(best).removesuffix(' than') if known else ''
    shares = best.get('figure') == 'accuracy'
    lead = (percent if shares else with_interval)(best, 'difference')
    lead = f'AUC {lead}' if best.get('figure') == 'auc' else lead
    name = inert(str(best.get('name', '')).replace('_', ' '))
    return name, ', '.join(filter(None, (lead, words)))
