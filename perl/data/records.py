"""The records that readers return, and the dataset that contains them.

A comparison stores its prompt separately from its K completions, so that a shared
prompt can be encoded once.
"""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable

from perl.system.errors import UserError

SPLITS = ('train', 'val', 'test')
# fields of a comparison that a reader may set from the strength of its label
STRENGTHS = ('', 'margin', 'preference')


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
            least 0; 0 means unknown (Llama 2, arXiv 2307.09288, eq. 2).
        preference: the probability, in [0, 1], that the order is right: the soft label
            of AI feedback (RLAIF, arXiv 2309.00267).
        tags: (name, value) pairs, such as the batch or domain of the label; an
            evaluation reports its accuracy by each.
        group: the dialog, post or screen of the comparison. Records of one group are
            not independent: the intervals of an evaluation treat a group as one
            observation. With '', records with the same prompt form a group.
    """

    prompt: str
    completions: tuple[str, ...]
    margin: float = 0.0
    preference: float = 1.0
    tags: tuple[tuple[str, str], ...] = ()
    group: str = dataclasses.field(default='', compare=False)


@dataclasses.dataclass(frozen=True)
class Rating:
    """A prompt, one response and a label in [0, 1] that says how good it is.

    `tags` and `group` are as in a comparison.
    """

    prompt: str
    response: str
    label: float
    tags: tuple[tuple[str, str], ...] = ()
    group: str = dataclasses.field(default='', compare=False)


Record = Demonstration | Comparison | Rating

# what a row of each kind is
RECORDS: dict[str, type] = {
    'text': str,
    'demonstrations': Demonstration,
    'comparisons': Comparison,
    'ratings': Rating,
    'prompts': str,
}


def _empty() -> dict[str, list]:
    return {split: [] for split in SPLITS}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """All records of one dataset by split ('train', 'val', 'test').

    A prompt ends where its response begins: `prompt + response` is the whole text.

    Attributes:
        name: its name in configs and reports.
        text: documents to pretrain on.
        demonstrations, comparisons, ratings: the records of each kind.
        prompts: prompts to sample from in reinforcement learning.
        prompt_groups: the group (dialog, post) of each prompt that has one.
        gold: the exact reward of (prompt, response), if one is known.
        harmless: the exact harmlessness of (prompt, response), if known: 1 is harmless,
            0 harmful.
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

    def of_kind(self, kind: str) -> dict[str, list]:
        """The rows of a kind of `RECORDS`, by split."""
        return getattr(self, kind)


def responses(record: Record | str) -> tuple[str, ...]:
    """The responses of a record: none for a prompt alone, K for a comparison."""
    match record:
        case str():
            return ()
        case Demonstration(_, response) | Rating(_, response):
            return (response,)
        case Comparison(_, completions):
            return tuple(completions)
    raise TypeError(f'not a record: {record!r}')


def check_record(row: int, record: Record | str, first: Record | str) -> None:
    """Checks that a record is valid for training.

    Args:
        row: its number, counted from 1, for the message.
        record: a record or a prompt.
        first: row 1; all rows must be of its kind.

    Raises:
        UserError: a response has no text, a rating or preference is outside [0, 1], a
            margin is below 0, a comparison has fewer than two completions, or a record
            is not of the kind of the first.
    """
    texts = responses(record)
    for place, text in enumerate(texts, 1):
        if not text.strip():
            raise UserError(
                f'row {row}: completion {place} is empty, so the model cannot learn '
                'from it; drop the row or write a completion'
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


def fingerprint(records: Iterable[Record | str]) -> str:
    """Sixteen hexadecimal digits that identify records and their order.

    Args:
        records: records of any kind; prompts and documents are strings.
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
