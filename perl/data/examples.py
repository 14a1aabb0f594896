"""Records as token ids."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from perl.data import counts as counting
from perl.data.counts import Part
from perl.data.records import Comparison, Record, check_record, responses
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Examples:
    """n records in token ids.

    Attributes:
        prompts: n int32 arrays `[P_i]`, bos first.
        completions: n tuples of K_i int32 arrays, eos last unless cut: none for prompts
            alone, one for demonstrations and ratings, two or more for comparisons, best
            first. K_i may differ from row to row.
        labels: float32 `[n]`, the ratings' labels; 1 for other kinds.
        pad: the id used as padding; its value has no effect.
        margins, preferences: float32 `[n]` for comparisons, as in `Comparison`; None
            for other kinds.
        rows: int64 `[n]`, the index of each example in the encoded records; None if
            the examples do not come from `encode`.
    """

    prompts: list[np.ndarray]
    completions: list[tuple[np.ndarray, ...]]
    labels: np.ndarray
    pad: int = 0
    margins: np.ndarray | None = None
    preferences: np.ndarray | None = None
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, records: Sequence[Record | str]) -> list[Record | str]:
        """The n encoded records that became examples, from all records."""
        return [records[row] for row in self.rows]

    @property
    def lengths(self) -> np.ndarray:
        """int32 `[n]`: tokens of the prompt and of the longest completion."""
        return np.array(
            [
                len(prompt) + max(map(len, completions), default=0)
                for prompt, completions in zip(
                    self.prompts, self.completions, strict=True
                )
            ],
            np.int32,
        )

    @property
    def completion_counts(self) -> np.ndarray:
        """int32 `[n]`: K_i, the number of completions of each example."""
        return np.array([len(row) for row in self.completions], np.int32)


def encode(
    records: Sequence[Record | str],
    tokenizer: Tokenizer,
    max_prompt: int,
    max_response: int,
) -> tuple[Examples, dict[str, int]]:
    """Encodes records of one kind, or prompts alone.

    A prompt begins a text and its responses continue it. A prompt longer than
    `max_prompt` (bos included) loses its beginning, but keeps bos; a response longer
    than `max_response` (eos included) loses its end and eos. After cutting, a
    completion equal to a better one of its comparison is removed, and a comparison with
    only one completion left is dropped: equal completions have no gradient.

    Returns:
        The examples, and all the counts of `perl.data.counts.COUNTS`.

    Raises:
        UserError: `check_record` refuses a record, the tokenizer knows no character of
            a response (the message names the row, counted from 1), or all comparisons
            are dropped.
    """
    if min(max_prompt, max_response) < 1:
        raise UserError(
            f'max_prompt {max_prompt} and max_response {max_response} must be at least '
            '1, since bos and eos count; raise them'
        )
    counts = collections.Counter(dict.fromkeys(counting.COUNTS, 0))
    prompts, completions, rows = [], [], []
    for row, record in enumerate(records):
        check_record(row + 1, record, records[0])
        prompt = _prompt(record, tokenizer, max_prompt)
        parts = _completions(row + 1, record, prompt, tokenizer, max_response)
        if isinstance(record, Comparison):
            parts = _count_equal(parts, counts)
            if len(parts) < 2:
                continue
        counts.update(counting.of_example(prompt, parts, tokenizer))
        prompts.append(np.array(prompt.tokens, np.int32))
        completions.append(tuple(np.array(part.tokens, np.int32) for part in parts))
        rows.append(row)
    if records and not rows:
        once_cut = counts['equal_after_cut']
        cure = 'raise lengths.response' if once_cut else 'give some that differ'
        raise UserError(
            f'{len(records)} of {len(records)} comparisons have equal completions, '
            f'{once_cut} of them only after cutting, so they cannot be used in '
            f'training or evaluation; {cure}'
        )
    chosen = [records[row] for row in rows]
    counts['equal_after_cut'] += counting.contradictions(chosen, prompts, completions)
    return Examples(
        prompts,
        completions,
        np.array([getattr(x, 'label', 1) for x in chosen], np.float32),
        tokenizer.pad,
        *_strengths(chosen),
        np.array(rows, np.int64),
    ), dict(counts)


def encode_responses(
    prompts: Sequence[str],
    texts: Sequence[str],
    tokenizer: Tokenizer,
    max_prompt: int,
    max_response: int,
) -> Examples:
    """Encodes one response to each of n prompts, as `encode` does. But here a response
    may be empty; it then consists of eos."""
    parts = [_prompt(prompt, tokenizer, max_prompt) for prompt in prompts]
    completions = [
        (np.array(_continue(text, prompt, tokenizer, max_response).tokens, np.int32),)
        for text, prompt in zip(texts, parts, strict=True)
    ]
    tokens = [np.array(part.tokens, np.int32) for part in parts]
    return Examples(tokens, completions, np.ones(len(parts), np.float32), tokenizer.pad)


def _completions(
    row: int, record: Record | str, prompt: Part, tokenizer: Tokenizer, limit: int
) -> list[Part]:
    return [
        _response(row, text, prompt, tokenizer, limit) for text in responses(record)
    ]


def _count_equal(completions: list[Part], counts: collections.Counter) -> list[Part]:
    """The different completions of a comparison; those that are equal are counted."""
    different = _different(completions)
    counts.update(counting.of_equality(completions, len(different)))
    return different


def _prompt(record: Record | str, tokenizer: Tokenizer, limit: int) -> Part:
    text = record if isinstance(record, str) else record.prompt
    ids = tokenizer.encode(text, start=True)
    cut = max(0, len(ids) + 1 - limit)
    return Part(text, ids, [tokenizer.bos, *ids[cut:]])


def _response(
    row: int, text: str, prompt: Part, tokenizer: Tokenizer, limit: int
) -> Part:
    part = _continue(text, prompt, tokenizer, limit)
    if not part.ids:
        raise UserError(
            f'row {row}: the tokenizer knows no character of a response, so the model '
            'cannot learn from it; drop the row, or use another tokenizer'
        )
    return part


def _continue(text: str, prompt: Part, tokenizer: Tokenizer, limit: int) -> Part:
    # after an empty prompt the response begins the text
    ids = tokenizer.encode(text, start=not prompt.text)
    return Part(text, ids, [*ids, tokenizer.eos][:limit])


def _different(completions: Sequence[Part]) -> list[Part]:
    """The completions without those that have the tokens of a better one."""
    first: dict[tuple[int, ...], Part] = {}
    for part in completions:
        first.setdefault(tuple(part.tokens), part)
    return list(first.values())


def _strengths(records):
    """Margins and preferences `[n]` of comparisons; None for other records."""
    if not records or not isinstance(records[0], Comparison):
        return None, None
    fields = ('margin', 'preference')
    return (np.array([getattr(r, f) for r in records], np.float32) for f in fields)
