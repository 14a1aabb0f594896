"""Assigns records to splits; no record of a held-out split leaks into another split."""

import collections
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

from perl.data.records import (
    RECORDS,
    SPLITS,
    Comparison,
    Dataset,
    Rating,
    Record,
    responses,
)
from perl.system.errors import UserError
from perl.system.suggest import one_of

# Duplicates of these kinds add nothing; equal comparisons are votes of several people.
_DISTINCT = ('text', 'demonstrations', 'prompts')


def split_of(key: str, shares: tuple[int, int, int] = (8, 1, 1)) -> str:
    """The split of all records with this `key`, from sha1(key) mod sum(shares).

    With the default shares 0-7 is 'train', 8 'val' and 9 'test', on every machine.
    """
    place = int(hashlib.sha1(key.encode()).hexdigest(), 16) % sum(shares)
    bounds = itertools.accumulate(shares)
    return next(split for split, end in zip(SPLITS, bounds, strict=True) if place < end)


class Groups:
    """Collects records of a dataset and drops those that leak between splits.

    A record leaks if a more held-out split (test before val before train) has a record
    of the same group (a post, a dialog, a screen) or with the same prompt (for a
    document: the same text). Groups and texts are compared without white space.

    Args:
        official: whether the splits are those for which a paper reports figures. Then
            only equal groups are leaks; a prompt in two splits stays in both and is
            counted as leaks_kept, so that the split sizes are the published ones.
        distinct: whether to keep only one of equal texts, demonstrations and prompts
            in a split.

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
            split: its split, unless it is a leak.
            group: its group; '' if only its prompt determines what it belongs to.
            record: a record of that kind.
            texts: texts to compare instead of its prompt or text.

        Raises:
            UserError: the kind or the split does not exist, or the record is something
                else.
        """
        one_of('Groups.add: kind', kind, *RECORDS)
        one_of('Groups.add: split', split, *SPLITS)
        if not isinstance(record, RECORDS[kind]):
            raise UserError(
                f'Groups.add: {kind}: {record!r:.60} is a {type(record).__name__}; '
                f'give a {RECORDS[kind].__name__}'
            )
        self._rows.append((kind, split, group, record))
        self._texts.append(texts)

    def dataset(self, name: str, gold: Any = None) -> Dataset:
        """The dataset without leaks; they are counted as leaks_dropped."""
        data = Dataset(name, gold=gold, counts=self.counts)
        leaks = self._leaks()
        for place, (kind, split, group, record) in enumerate(self._rows):
            if place not in leaks:
                if isinstance(record, Comparison | Rating):
                    record = dataclasses.replace(record, group=group)
                if kind == 'prompts' and group:
                    data.prompt_groups[record] = group
                data.of_kind(kind)[split].append(record)
        if self._distinct:
            for kind in _DISTINCT:
                for split, records in data.of_kind(kind).items():
                    data.of_kind(kind)[split] = list(dict.fromkeys(records))
        return data

    def _leaks(self) -> set[int]:
        """The indices of the rows to drop; counts dropped and kept leaks."""
        places: dict[str, list[int]] = {split: [] for split in SPLITS}
        for place, row in enumerate(self._rows):
            places[row[1]].append(place)
        leaks, held_groups, held_texts = set(), set(), set()
        for split in reversed(SPLITS):
            groups, texts = set(), set()
            for place in places[split]:
                _, _, group, record = self._rows[place]
                group = _digest(group)
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
            held_groups |= groups - {b''}
            held_texts |= texts
        if leaks:
            self.counts['leaks_dropped'] += len(leaks)
        return leaks


def _texts(record: Record | str) -> Sequence[str]:
    """The texts to compare: the prompt, or the responses if the prompt is empty."""
    prompt = record if isinstance(record, str) else record.prompt
    return [prompt] if prompt.strip() else responses(record)


@functools.lru_cache(maxsize=2**12)
def _digest(text: str) -> bytes:
    """A short key of a text without its white space; b'' if nothing is left."""
    letters = ''.join(text.split()).encode()
    return hashlib.blake2b(letters, digest_size=16).digest() if letters else b''
