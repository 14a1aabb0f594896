"""Kind, chance level and baselines of the figures of reward models.

Accuracies on comparisons and on ratings cannot be compared: chance is 1/2 on
comparisons, and the share of the more frequent label on ratings. A report shows them
separately.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from perl.report.markdown import inert
from perl.report.values import is_number

KINDS = {
    'pairwise': 'comparisons (pairwise)',
    'pointwise': 'ratings (pointwise)',
    '': 'held-out data',  # of an old run, the kind is unknown
}
Figures = Mapping[str, Any]


def kind(figures: Figures) -> str:
    """'pairwise', 'pointwise', or '' if the figures do not show the kind."""
    if figures.get('reward_kind') in KINDS:
        return figures['reward_kind']
    if 'positives' in figures:
        return 'pointwise'
    pairs = figures.get('calibration', figures).get('pairs')
    if pairs is None:
        return ''
    return 'pairwise' if pairs else 'pointwise'


def by_kind(models: Mapping[str, Figures]) -> dict[str, dict[str, Figures]]:
    """Reward models by kind, in the order of `KINDS`, without empty kinds."""
    kinds = {name: kind(figures) for name, figures in models.items()}
    groups = {
        wanted: {name: models[name] for name in models if kinds[name] == wanted}
        for wanted in KINDS
    }
    return {wanted: group for wanted, group in groups.items() if group}


def chance(figures: Figures, figure: str = 'accuracy') -> tuple[float, str] | None:
    """The figure of a model that has learned nothing, and the name of that model.

    Args:
        figures: figures of a reward model.
        figure: 'accuracy', 'balanced_accuracy' or 'auc'.
    """
    if figure != 'accuracy' or kind(figures) == 'pairwise':
        return 0.5, 'chance'
    majority = baselines(figures).get('majority', {}).get('accuracy')
    if not is_number(majority) and is_number(figures.get('positives')):
        share = figures['positives'] / figures['n'] if figures.get('n') else 0.5
        majority = max(share, 1 - share)
    return (majority, 'majority') if is_number(majority) else None


def baselines(figures: Figures) -> dict[str, Figures]:
    """The figures of each baseline, by name."""
    measured = figures.get('baselines')
    if not isinstance(measured, dict):
        return {}
    return {name: x for name, x in measured.items() if isinstance(x, dict)}


def shared_baselines(models: Iterable[Figures]) -> dict[str, Figures]:
    """The different baselines of several models.

    Models that were measured on the same data have the same baselines.
    """
    shared: dict[str, Figures] = {}
    for figures in models:
        for name, row in baselines(figures).items():
            if row not in shared.values():
                shared[name if name not in shared else f'{name} (other data)'] = row
    return shared


def only_ties(models: Mapping[str, Figures]) -> list[str]:
    """A sentence for each evaluated model whose comparisons are all labelled as ties,
    instead of the missing figures."""
    sentences = []
    for name, figures in models.items():
        if figures['by_margin']:
            continue
        ties = figures.get('labelled_ties')
        every = f'all {ties} comparisons' if is_number(ties) else 'all comparisons'
        sentences.append(
            f'{inert(name)} has no accuracy, no calibration and no accuracy by subset, '
            f'because {every} of this split are labelled as ties, so no order is '
            'right.\n'
        )
    return sentences
