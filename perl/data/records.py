"""The records that every reader yields, and the data set that they make up.

A comparison keeps its prompt and its K completions apart until the batch, so that a
shared prompt can be encoded once.
"""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable

from perl.system.errors import UserError

SPLITS = ('train', 'val', 'test')


@dataclasses.dataclass(frozen=True)
class Demonstration:
    """A prompt and one response to imitate."""

    prompt: str
    response: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A prompt and K >= 2 completions, the best first.

    Attributes:
        margin: how much better each completion is than the next, in units of reward, at
            least 0; 0 says nothing about it (Llama 2, arXiv 2307.09288, eq. 2).
        preference: how sure it is that the order is right, in [0, 1]: the soft label of
            AI feedback (RLAIF, arXiv 2309.00267).
        tags: (name, value) of what the label belongs to, such as a batch or a domain;
            an evaluation tells its accuracy by each.
        group: the dialog, post or screen that the comparison is of. Records of one
            group are not independent: an evaluation counts it once in its intervals.
            '' where nothing but the prompt says what belongs together.
    """

    prompt: str
    completions: tuple[str, ...]
    margin: float = 0.0
    preference: float = 1.0
    tags: tuple[tuple[str, str], ...] = ()
    group: str = dataclasses.field(default='', compare=False)


@dataclasses.dataclass(frozen=True)
class Rating:
    """A prompt, one response and how good it is: a label in [0, 1].

    `tags` and `group` are those of a comparison.
    """

    prompt: str
    response: str
    label: float
    tags: tuple[tuple[str, str], ...] = ()
    group: str = dataclasses.field(default='', compare=False)


Record = Demonstration | Comparison | Rating


def _empty() -> dict[str, list]:
    return {split: [] for split in SPLITS}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """All the records of one data set by split ('train', 'val', 'test').

    A prompt ends where its response begins: `prompt + response` is the running text.

    Attributes:
        name: what it is called in configs and reports.
        text: documents to pretrain on.
        demonstrations, comparisons, ratings: the records of each kind.
        prompts: prompts to sample from in reinforcement learning.
        prompt_groups: the group (dialog, post) of each prompt that shares one.
        gold: the exact reward of (prompt, response), where one is known.
        harmless: whether a response does harm: the exact aspect, 0 to 1, of (prompt,
            response), where one is known; 1 is harmless.
        counts: what was dropped or shortened, and why.
    """

    name: str
    text: dict[str, list[str]] = dataclasses.field(default_factory=_empty)
    demonstrations: dict[str, list[Demonstration]] = dataclasses.field(
        default_factory=_empty
    )
    comparisons: dict[str, list[Comparison]] = dataclasses.field(default_factory=_empty)
    ratings: dict[str, list[Rating]] = dataclasses.field(default_factory=_empty)
    prompts: dict[str, list[str]] = dataclasses.field(default_factory=_empty)
    prompt_groups: dict[str, str] = dataclasses.field(default_factory=dict)
    gold: Callable[[str, str], float] | None = None
    harmless: Callable[[str, str], float] | None = None
    counts: dict[str, int] = dataclasses.field(default_factory=dict)


def responses(record: Record | str) -> tuple[str, ...]:
    """The responses of a record: none of a bare prompt, K of a comparison."""
    match record:
        case str():
            return ()
        case Demonstration(_, response) | Rating(_, response):
            return (response,)
        case Comparison(_, completions):
            return tuple(completions)
    raise TypeError(f'not a record: {record!r}')


def check_record(row: int, record: Record | str, first: Record | str) -> None:
    """Checks that one can learn from a record.

    Args:
        row: its number, counted from 1, for the message.
        record: a record or bare prompt.
        first: row 1, whose kind all rows must have.

    Raises:
        UserError: a response without text, a rating or preference outside [0, 1], a
            margin below 0, a comparison of fewer than two completions, or a record of
            another kind than the first.
    """
    texts = responses(record)
    for place, text in enumerate(texts, 1):
        if not text.strip():
            raise UserError(
                f'row {row}: completion {place} is empty, so there is nothing to '
                'learn from it; drop the row or give it text'
            )
    if isinstance(record, Rating) and not 0 <= record.label <= 1:
        raise UserError(f'row {row}: the label {record.label} is not between 0 and 1')
    if isinstance(record, Comparison):
        if len(texts) < 2:
            raise UserError(
                f'row {row}: a comparison needs two completions or more, this one has '
                f'{len(texts)}'
            )
        if not 0 <= record.preference <= 1:
            raise UserError(
                f'row {row}: the preference {record.preference} is not between 0 and 1'
            )
        if not 0 <= record.margin < math.inf:
            raise UserError(
                f'row {row}: the margin {record.margin} is not a number of at least 0'
            )
    if type(record) is not type(first):
        names = [type(x).__name__ for x in (record, first)]
        raise UserError(
            f'row {row} is a {names[0]}, row 1 a {names[1]}: give rows of one kind'
        )


def split_of(key: str, shares: tuple[int, int, int] = (8, 1, 1)) -> str:
    """The split of everything that shares `key`: sha1(key) mod sum(shares).

    With the default shares 0-7 is 'train', 8 'val' and 9 'test', on every machine.
    """
    place = int(hashlib.sha1(key.encode()).hexdigest(), 16) % sum(shares)
    bounds = itertools.accumulate(shares)
    return next(split for split, end in zip(SPLITS, bounds, strict=True) if place < end)


def fingerprint(records: Iterable[Record | str]) -> str:
    """Sixteen hexadecimal digits that tell some records, in their order, from others.

    Args:
        records: of any kind; prompts and documents are plain text.
    """
    sha = hashlib.sha256()
    for record in records:
        sha.update(f'{record!r}\n'.encode('utf-8', 'backslashreplace'))
    return sha.hexdigest()[:16]


def pairs(comparison: Comparison) -> list[Comparison]:
    """The K(K-1)/2 pairs (better, worse) that a ranking of K completions implies."""
    ranked = enumerate(comparison.completions)
    return [
        dataclasses.replace(
            comparison, completions=(a, b), margin=comparison.margin * (j - i)
        )
        for (i, a), (j, b) in itertools.combinations(ranked, 2)
    ]
