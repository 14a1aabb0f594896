"""What the panels of the plot of accuracies by group show, before it is drawn.

A panel is of one kind of reward model and one grouping of its records, such as a tag,
or how sure the model is. The models of a panel need not have the same groups, nor the
grouping at all.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from perl.report import reward_figures, style
from perl.report.formatting import count
from perl.report.values import is_number

GROUPS = 16  # of one panel; the largest ones
SURE = 'how sure the model is'  # the grouping by how far apart the scores are
_ABOUT = {'pairwise': 'comparisons', 'pointwise': 'ratings', '': 'other'}
Row = Mapping[str, Any]  # of a group: n, accuracy, ci95


@dataclasses.dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: above it.
        grouping: its name.
        rows: of each model, its rows by group.
        groups: that are shown, from the top down.
        chance: lines to compare with, each a value and its name.
        least: where the axis of accuracies begins.
    """

    title: str
    grouping: str
    rows: dict[str, dict[Any, Row]]
    groups: list[Any]
    chance: set[tuple[float, str]]
    least: float

    @property
    def height(self) -> float:
        """In inches: room for a point of each model in each group."""
        return 0.95 + (0.19 * len(self.rows) + 0.17) * len(self.groups)

    def labels(self) -> list[str]:
        """The names of the groups, with how many records each has."""
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
    """The panels, at most two a line, of one kind of reward model each.

    How sure the model is comes first, then the groupings from the fewest groups to the
    most.

    Args:
        models: figures of each reward model, see `examine.reward_model`.
    """
    models = {name: x for name, x in models.items() if x.get('by_margin')}
    kinds = reward_figures.by_kind(models)
    found = []
    for kind, group in kinds.items():
        about = f'{_ABOUT[kind]}: ' if len(kinds) > 1 else ''
        panels = _panels(group, about)
        found += [panels[i : i + 2] for i in range(0, len(panels), 2)]
    return found


def _panels(models, about):
    names = {name: None for x in models.values() for name in x.get('by_group', {})}
    rows = {
        name: {stage: _rows(figures, name) for stage, figures in models.items()}
        for name in (SURE, *names)
    }
    chance = set(filter(None, map(reward_figures.chance, models.values())))
    least = _least(rows, chance)
    panels = [
        # among the records of one label the majority is right always or never
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
    """The rows of a model by group; those by how sure it is are numbered."""
    if grouping == SURE:
        return dict(enumerate(figures['by_margin']))
    rows = figures.get('by_group', {}).get(grouping, [])
    return {str(row['group']): row for row in rows}


def _largest(rows):
    """The largest groups that any model has, in the order of their rows."""
    sizes = {}
    for groups in rows.values():
        for group, row in groups.items():
            sizes[group] = max(row['n'], sizes.get(group, 0))
    largest = set(sorted(sizes, key=sizes.get)[-GROUPS:])
    return [group for group in sizes if group in largest]


def _least(rows, chance):
    """A little below chance and below every interval."""
    shown = [row for x in rows.values() for y in x.values() for row in y.values()]
    ends = [row['ci95'][0] for row in shown] + [row['accuracy'] for row in shown]
    ends += [value for value, _ in chance]
    return max(0, min(filter(is_number, ends), default=0)) - 0.02
