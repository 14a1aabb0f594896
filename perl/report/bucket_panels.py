"""The content of the panels in the plot of accuracies by group.

A panel shows one kind of reward model and one grouping of its records, such as a tag or
the model's confidence. The models of a panel may have different groups, or lack the
grouping.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from perl.report import reward_figures, style
from perl.report.formatting import count
from perl.report.values import is_number

GROUPS = 16  # most groups in a panel; the largest are shown
SURE = 'how sure the model is'  # the grouping by the difference of the scores
_ABOUT = {'pairwise': 'comparisons', 'pointwise': 'ratings', '': 'other'}
Row = Mapping[str, Any]  # of a group: n, accuracy, ci95


@dataclasses.dataclass(frozen=True)
class Panel:
    """One panel of accuracy by bucket or by group.

    Attributes:
        title: the title above it.
        grouping: the name of its grouping.
        rows: the rows of each model, by group.
        groups: the groups to show, from top to bottom.
        chance: reference lines, each a value and its name.
        least: the lower end of the accuracy axis.
    """

    title: str
    grouping: str
    rows: dict[str, dict[Any, Row]]
    groups: list[Any]
    chance: set[tuple[float, str]]
    least: float

    @property
    def height(self) -> float:
        """The height in inches, with room for a point of each model in each group."""
        return 0.95 + (0.19 * len(self.rows) + 0.17) * len(self.groups)

    def labels(self) -> list[str]:
        """The names of the groups, with the number of records of each."""
        names = {group: style.short(group) for group in self.groups}
        if self.grouping == SURE:
            ends = {0: 'least sure', len(names) - 1: 'surest'}
            names = {at: ends.get(at, f'{at + 1} of {len(names)}') for at in names}
        sizes = {
            group: sorted({x[group]['n'] for x in self.rows.values() if group in x})
            for group in self.groups
        }
        return [f'{names[x]}, n={"–".join(map(count, sizes[x]))}' for x in self.groups]


def lines(models: Mapping[str, Mapping[str, Any]]) -> list[list[Panel]]:
    """The panels in lines of at most two, each of one kind of reward model.

    The grouping by confidence comes first, then the others by their number of groups.

    Args:
        models: figures of each reward model, see `examine.reward_model`.
    """
    models = {name: x for name, x in models.items() if x.get('by_margin')}
    kinds = reward_figures.by_kind(models)
    panel_lines = []
    for kind, group in kinds.items():
        about = f'{_ABOUT[kind]}: ' if len(kinds) > 1 else ''
        panels = _panels(group, about)
        panel_lines += [panels[i : i + 2] for i in range(0, len(panels), 2)]
    return panel_lines


def _panels(models, about):
    names = {name: None for x in models.values() for name in x.get('by_group', {})}
    rows = {
        name: {stage: _rows(figures, name) for stage, figures in models.items()}
        for name in (SURE, *names)
    }
    chance = set(filter(None, map(reward_figures.chance, models.values())))
    least = _least(rows, chance)
    panels = [
        # within one label, the majority baseline is always right or always wrong
        Panel(
            about + style.short(name),
            name,
            rows[name],
            _largest(rows[name]),
            chance if name != 'label' else set(),
            least,
        )
        for name in rows
    ]
    return sorted(panels, key=lambda x: (x.grouping != SURE, len(x.groups)))


def _rows(figures, grouping):
    """The rows of a model by group; for the grouping by confidence, by number."""
    if grouping == SURE:
        return dict(enumerate(figures['by_margin']))
    rows = figures.get('by_group', {}).get(grouping, [])
    return {str(row['group']): row for row in rows}


def _largest(rows):
    """The largest groups over all models, in the order of their rows."""
    sizes = {}
    for groups in rows.values():
        for group, row in groups.items():
            sizes[group] = max(row['n'], sizes.get(group, 0))
    largest = set(sorted(sizes, key=sizes.get)[-GROUPS:])
    return [group for group in sizes if group in largest]


def _least(rows, chance):
    """A value slightly below chance and below all intervals."""
    shown = [row for x in rows.values() for y in x.values() for row in y.values()]
    ends = [row['ci95'][0] for row in shown] + [row['accuracy'] for row in shown]
    ends += [value for value, _ in chance]
    return max(0, min(filter(is_number, ends), default=0)) - 0.02
