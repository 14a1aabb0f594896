"""Records by split, with nothing of a held-out split in a less held-out one."""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from perl.data.records import (
    SPLITS,
    Comparison,
    Dataset,
    Rating,
    Record,
    responses,
)

# Equal ones of these teach nothing new; equal comparisons are several people's votes.
_DISTINCT = ('text', 'demonstrations', 'prompts')


class Groups:
    """Collects records of a data set, each with what it may not share across splits.

    That is its group (a post, a dialog, a screen) and its prompt, or for a document its
    text; texts are compared without their white space. A record that shares either with
    one of a more held-out split (test before val before train) is a leak.

    Args:
        official: the splits are those that a paper reports figures on. Only groups then
            move records; a prompt of two splits stays in both and is counted as
            leaks_kept, so that the sizes are the published ones.
        distinct: of equal texts, demonstrations and prompts of a split keep one.

    Attributes:
        counts: what was dropped or shortened; readers add to it.
    """

    def __init__(self, official: bool = False, distinct: bool = True):
        self.counts = collections.Counter()
        self._official, self._distinct = official, distinct
        self._rows: list[tuple[str, str, str, Record | str]] = []
        self._texts: list[Sequence[str] | None] = []

    def add(
        self,
        kind: str,
        split: str,
        group: str,
        record: Record | str,
        texts: Sequence[str] | None = None,
    ) -> None:
        """Adds a record.

        Args:
            kind: 'text', 'demonstrations', 'comparisons', 'ratings' or 'prompts'.
            split: where it is unless it is a leak.
            group: what it belongs to; '' where nothing but its prompt says that.
            record: of that kind.
            texts: what it may not share, if that is not its prompt or text.
        """
        self._rows.append((kind, split, group, record))
        self._texts.append(texts)

    def dataset(self, name: str, gold: Any = None) -> Dataset:
        """The data set without leaks, which are counted as leaks_dropped."""
        data = Dataset(name, gold=gold, counts=self.counts)
        leaks = self._leaks()
        for place, (kind, split, group, record) in enumerate(self._rows):
            if place not in leaks:
                if isinstance(record, Comparison | Rating):
                    record = dataclasses.replace(record, group=group)
                if kind == 'prompts' and group:
                    data.prompt_groups[record] = group
                getattr(data, kind)[split].append(record)
        if self._distinct:
            for kind in _DISTINCT:
                for split, records in getattr(data, kind).items():
                    getattr(data, kind)[split] = list(dict.fromkeys(records))
        return data

    def _leaks(self) -> set[int]:
        """The places of the rows to drop; counts them, and those that are kept."""
        places: dict[str, list[int]] = {split: [] for split in SPLITS}
        for place, row in enumerate(self._rows):
            places[row[1]].append(place)
        leaks, held_groups, held_texts = set(), set(), set()
        for split in reversed(SPLITS):
            groups, texts = set(), set()
            for place in places[split]:
                _, _, group, record = self._rows[place]
                keys = {_digest(x) for x in self._texts[place] or _texts(record)}
                keys.discard(b'')
                text_leak = not held_texts.isdisjoint(keys)
                if group in held_groups or (text_leak and not self._official):
                    leaks.add(place)
                    continue
                if text_leak:
                    self.counts['leaks_kept'] += 1
                groups.add(group)
                texts.update(keys)
            held_groups |= groups - {''}
            held_texts |= texts
        if leaks:
            self.counts['leaks_dropped'] += len(leaks)
        return leaks


def _texts(record: Record | str) -> Sequence[str]:
    """What tells a record from others: its prompt, or responses without a prompt."""
    prompt = record if isinstance(record, str) else record.prompt
    return [prompt] if prompt.strip() else responses(record)


@functools.lru_cache(maxsize=2**12)
def _digest(text: str) -> bytes:
    """A short key of a text without its white space; b'' where nothing is left."""
    letters = ''.join(text.split()).encode()
    return hashlib.blake2b(letters, digest_size=16).digest() if letters else b''
