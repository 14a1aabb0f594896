"""Records as token ids."""

import collections
import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from perl.data import counts as counting
from perl.data.counts import Part
from perl.data.parts import different, parts_of, prompt_part, response_part
from perl.data.records import Comparison, Record, check_record
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Examples:
    """n records in token ids.

    Attributes:
        prompts: n int32 arrays `[P_i]`, bos first where the tokenizer puts it there.
        completions: n tuples of K_i int32 arrays, eos last unless cut: none for prompts
            alone, one for demonstrations and ratings, two or more for comparisons, best
            first. K_i may differ from row to row.
        labels: float32 `[n]`, the ratings' labels; 1 for other kinds.
        pad: the id used as padding; its value has no effect.
        margins, preferences: float32 `[n]` for comparisons, as in `Comparison`; None
            for other kinds.
        rows: int64 `[n]`, the index of each example in the encoded records; None if
            the examples do not come from `encode`.
        masks: as `completions`, bool: which tokens are to be predicted; None for all.
        states: `[n, K, D]`, the decoder's final states at the last tokens of the
            completions, where they are known and a head reads them in place of tokens;
            0 where an example has fewer than K completions.
    """

    prompts: list[np.ndarray]
    completions: list[tuple[np.ndarray, ...]]
    labels: np.ndarray
    pad: int = 0
    margins: np.ndarray | None = None
    preferences: np.ndarray | None = None
    rows: np.ndarray | None = None
    masks: list[tuple[np.ndarray, ...]] | None = None
    states: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, records: Sequence[Record | str]) -> list[Record | str]:
        """The n encoded records that became examples, from all records."""
        return [records[row] for row in self.rows]

    def learned(self, row: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """The completions of an example, int32 `[R]` each, and which of their tokens
        are to be predicted, bool `[R]`."""
        tokens = self.completions[row]
        masks = (
            self.masks[row] if self.masks else [np.ones(len(x), bool) for x in tokens]
        )
        return tuple(zip(tokens, masks, strict=True))

    @functools.cached_property
    def mean_lengths(self) -> tuple[float, float]:
        """Tokens of a prompt and of a completion, in the mean."""
        said = [len(x) for row in self.completions for x in row]
        return np.mean([*map(len, self.prompts)]), np.mean(said)

    @functools.cached_property
    def longest_completion(self) -> int:
        """Tokens of the longest completion of all examples."""
        return max(len(x) for row in self.completions for x in row)

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
    `max_prompt` (bos included, where the tokenizer begins a text with it) loses its
    beginning, but keeps bos; a response longer than `max_response` (eos included) loses
    its end and eos. Prompts of messages (`Chat`) are rendered with the chat template;
    cut, they lose their oldest exchanges, and a response ends with the token that ends
    a turn. After cutting, a completion equal to a better one of its comparison is
    removed, and a comparison with only one completion left is dropped: equal
    completions have no gradient.

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
    parts, rows = [], []
    for row, record in enumerate(records):
        check_record(row + 1, record, records[0])
        limits = max_prompt, max_response
        prompt, completions = parts_of(row + 1, record, tokenizer, limits)
        if isinstance(record, Comparison):
            completions = _count_equal(completions, counts)
            if len(completions) < 2:
                continue
        counts.update(counting.of_example(prompt, completions, tokenizer))
        parts.append((prompt, completions))
        rows.append(row)
    _check_some_kept(records, rows, counts)
    chosen = [records[row] for row in rows]
    tokens = _arrays(*zip(*parts, strict=True)) if parts else ([], [])
    counts['equal_after_cut'] += counting.contradictions(chosen, *tokens)
    return Examples(
        *tokens,
        np.array([getattr(x, 'label', 1) for x in chosen], np.float32),
        tokenizer.pad,
        *_strengths(chosen),
        np.array(rows, np.int64),
        [tuple(map(_mask, completions)) for _, completions in parts],
    ), dict(counts)


def _check_some_kept(records, rows, counts):
    if records and not rows:
        once_cut = counts['equal_after_cut']
        cure = 'raise lengths.response' if once_cut else 'give some that differ'
        raise UserError(
            f'{len(records)} of {len(records)} comparisons have equal completions, '
            f'{once_cut} of them only after cutting, so they cannot be used in '
            f'training or evaluation; {cure}'
        )


def encode_responses(
    prompts: Sequence[str],
    texts: Sequence[str],
    tokenizer: Tokenizer,
    max_prompt: int,
    max_response: int,
) -> Examples:
    """Encodes one response to each of n prompts, as `encode` does. But here a response
    may be empty; it then consists of its end alone."""
    first = [prompt_part(prompt, tokenizer, max_prompt) for prompt in prompts]
    rest = [
        (response_part(prompt, text, tokenizer, max_response),)
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    labels = np.ones(len(first), np.float32)
    return Examples(*_arrays(first, rest), labels, tokenizer.pad)


def _arrays(
    prompts: Sequence[Part], completions: Sequence[Sequence[Part]]
) -> tuple[list[np.ndarray], list[tuple[np.ndarray, ...]]]:
    """The tokens of prompts `[P_i]` and of their completions `[R]`, int32."""
    return (
        [np.array(part.tokens, np.int32) for part in prompts],
        [tuple(np.array(x.tokens, np.int32) for x in row) for row in completions],
    )


def _count_equal(completions: list[Part], counts: collections.Counter) -> list[Part]:
    """The different completions of a comparison; those that are equal are counted."""
    kept = different(completions)
    counts.update(counting.of_equality(completions, len(kept)))
    return kept


def _mask(part: Part) -> np.ndarray:
    """Which tokens of a completion are to be predicted, bool `[R]`."""
    if part.mask is None:
        return np.ones(len(part.tokens), bool)
    return np.array(part.mask, bool)


def _strengths(records):
    """Margins and preferences `[n]` of comparisons; None for other records."""
    if not records or not isinstance(records[0], Comparison):
        return None, None
    fields = ('margin', 'preference')
    return (np.array([getattr(r, f) for r in records], np.float32) for f in fields)
