"""Reads records from the user's files: JSON, JSON lines, CSV, TSV and Parquet.

`perl.data.files` reads the rows, without the network; this module makes records of
them. Errors name the file and the row.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from perl.data.files import paths, tables
from perl.data.files.rows import read_rows
from perl.data.records import (
    SPLITS,
    Dataset,
    Record,
    responses,
)
from perl.data.sets.own_files.conversations import TOOLS, has_own_prompt
from perl.data.sets.own_files.record import record_and_text
from perl.data.sets.own_files.source import Paths, Source, from_settings
from perl.data.splits import Groups, split_of
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Entry:
    """A record and the values that determine its split.

    Attributes:
        record: the record, document or prompt.
        text: the document, or the prompt before its template is applied.
        group: the value of the column `group`; '' if no column is named.
        split: the split of its file; '' if the file has no split.
    """

    record: Record | str
    text: str
    group: str
    split: str

    @property
    def texts(self) -> Sequence[str]:
        """The texts that no other split may contain: its document; its prompt, before
        and after the template, and with a response; for an empty prompt, responses."""
        if not self.text.strip():
            return responses(self.record) or (self.record,)
        if isinstance(self.record, str):
            return self.text, self.record
        whole = (self.record.prompt + text for text in responses(self.record))
        return self.text, self.record.prompt, *whole

    def place(self, shares: tuple[int, int, int]) -> str:
        """Its split: that of its file, or that of its group or first text, whatever the
        white space."""
        key = self.group or ' '.join(next(iter(self.texts), '').split())
        return self.split or split_of(key, shares)


def load(
    text: Paths | Mapping | None = None,
    demonstrations: Paths | Mapping | None = None,
    comparisons: Paths | Mapping | None = None,
    ratings: Paths | Mapping | None = None,
    prompts: Paths | Mapping | None = None,
    shares: tuple[int, int, int] = (8, 1, 1),
) -> Dataset:
    """A dataset of local files.

    Args:
        text, demonstrations, comparisons, ratings, prompts: a path, a list of paths, or
            a mapping with the settings of a `Source` (path, columns, group, prompt,
            response).
        shares: shares of train, val and test, as in `split_of`, for files that have no
            split.

    Returns:
        The dataset. Its counts are leaks_dropped (see `Groups`); margins_read and
        preferences_read, comparisons that have these; equal_completions, comparisons
        with the same text twice; responses_equal_to_their_prompt, rows with one that
        is; and prompts_equal_to_responses.

    Raises:
        UserError: a file, setting, column, row or value is missing or wrong.
    """
    settings = {
        'text': text,
        'demonstrations': demonstrations,
        'comparisons': comparisons,
        'ratings': ratings,
        'prompts': prompts,
    }
    if all(source is None for source in settings.values()):
        raise UserError(
            f"dataset 'files': name a file for one of {', '.join(settings)}"
        )
    whole = all(isinstance(share, int) and share >= 0 for share in shares)
    if len(shares) != len(SPLITS) or not whole or not sum(shares):
        raise UserError(
            f'shares: {tuple(shares)} are not three whole numbers for train, val and '
            'test; for 80 %, 10 % and 10 % give (8, 1, 1)'
        )
    groups = Groups(distinct=False)
    for kind, setting in settings.items():
        if setting is not None:
            for entry in read(from_settings(kind, setting)):
                split = entry.place(shares)
                groups.add(kind, split, entry.group, entry.record, entry.texts)
    data = groups.dataset('files')
    data.counts.update(_oddities(data))
    return data


def read(source: Source, mends: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """The entries of every row of a source; raises as `load` does.

    Args:
        source: the settings of the files.
        mends: {column: advice for the error if it is missing}; by default by settings.
    """
    for split, where in (source.splits or {'': source.path}).items():
        setting = f'{source.kind}.path.{split}' if split else f'{source.kind}.path'
        for file in paths.expand(where, setting):
            own = dataclasses.replace(source, there=_columns(file, source))
            needed = own.needed
            needed |= {x: why for x, why in (mends or {}).items() if x in needed}
            optional = [*own.optional.values(), TOOLS]
            for row in read_rows(file, list(needed), optional, needed):
                group = row.key(own.group) if own.group else ''
                yield Entry(*record_and_text(row, own), group, split)


def _columns(file: pathlib.Path, source: Source) -> list[str]:
    """Which columns that tell the fields of a file are in its first row."""
    first = next(iter(tables.read(file, source.candidates)), None)
    there = (
        {x: v for x, v in first[1].items() if x in source.candidates} if first else {}
    )
    prompt, chosen = (source.columns.get(x, x) for x in ('prompt', 'chosen'))
    if prompt not in there and not has_own_prompt(there.get(chosen)):
        there.pop(chosen, None)  # an error asks for the column of the prompt
    return list(there)


def _oddities(data: Dataset) -> dict[str, int]:
    """Counts of unusual records, which may be mistakes; counts of 0 are left out."""
    counts = collections.Counter()
    for row in (row for rows in data.comparisons.values() for row in rows):
        counts['margins_read'] += row.margin != 0
        counts['preferences_read'] += row.preference != 1
        texts = {text.strip() for text in row.completions}
        counts['equal_completions'] += len(texts) < len(row.completions)
    answers = set()
    kinds = (data.demonstrations, data.comparisons, data.ratings)
    for row in (row for kind in kinds for rows in kind.values() for row in rows):
        texts = {text.strip() for text in responses(row)}
        counts['responses_equal_to_their_prompt'] += row.prompt.strip() in texts
        answers |= texts
    asked = (prompt for rows in data.prompts.values() for prompt in rows)
    counts['prompts_equal_to_responses'] += sum(x.strip() in answers for x in asked)
    return {name: count for name, count in counts.items() if count}
