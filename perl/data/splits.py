"""Records by split, no group of them (post, dialog, screen) in two."""

import collections
from typing import Any

from perl.data.records import SPLITS, Dataset, Record

# Equal ones of these teach nothing new; equal comparisons are several people's votes.
_DISTINCT = ('text', 'demonstrations', 'prompts')


class Groups:
    """Records with the group that each belongs to.

    Attributes:
        counts: what was dropped or shortened; readers add to it.
    """

    def __init__(self):
        self.counts = collections.Counter()
        self._rows: list[tuple[str, str, str, Record | str]] = []
        self._place: dict[str, int] = {}

    def add(self, kind: str, split: str, group: str, record: Record | str) -> None:
        """Adds a record of a kind ('comparisons', …) to a split."""
        self._rows.append((kind, split, group, record))
        place = SPLITS.index(split)
        self._place[group] = max(place, self._place.get(group, 0))

    def dataset(self, name: str, gold: Any = None) -> Dataset:
        """The data set; a group of several splits stays in the most held-out one.

        What it loses in the others is counted as leaks_dropped. Of equal texts,
        demonstrations and prompts of a split one is kept.
        """
        data = Dataset(name, gold=gold, counts=self.counts)
        for kind, split, group, record in self._rows:
            if split == SPLITS[self._place[group]]:
                getattr(data, kind)[split].append(record)
            else:
                self.counts['leaks_dropped'] += 1
        for kind in _DISTINCT:
            for split, records in getattr(data, kind).items():
                getattr(data, kind)[split] = list(dict.fromkeys(records))
        return data
