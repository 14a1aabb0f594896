"""Records as token ids, with everything that was cut counted."""

import collections
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from perl.data.records import Comparison, Demonstration, Rating, Record
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Examples:
    """n records in token ids.

    Attributes:
        prompts: n int32 arrays, bos first.
        completions: n tuples of K int32 arrays, eos last unless cut; K is the same for
            all: 0 for bare prompts, 1 for demonstrations and ratings, else the
            completions of a comparison, best first.
        labels: float32 [n], the ratings' labels; 1 for every other kind.
        pad: the id that fills rows up. Nothing looks at it.
        margins, preferences: float32 [n] of comparisons, as `Comparison` has them; None
            for every other kind.
    """

    prompts: list[np.ndarray]
    completions: list[tuple[np.ndarray, ...]]
    labels: np.ndarray
    pad: int = 0
    margins: np.ndarray | None = None
    preferences: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def lengths(self) -> np.ndarray:
        """int32 [n]: tokens of the prompt and of the longest completion."""
        return np.array(
            [
                len(prompt) + max(map(len, completions), default=0)
                for prompt, completions in zip(
                    self.prompts, self.completions, strict=True
                )
            ],
            np.int32,
        )


def encode(
    records: Sequence[Record | str],
    tokenizer: Tokenizer,
    max_prompt: int,
    max_response: int,
) -> tuple[Examples, dict[str, int]]:
    """Encodes records of one kind, or bare prompts.

    A prompt longer than `max_prompt` (bos included) loses its beginning, but keeps bos;
    a response longer than `max_response` (eos included) loses its end and eos.

    Returns:
        The examples and the counts: examples, prompt_tokens, response_tokens (kept),
        prompts_cut, prompt_tokens_cut, responses_cut, response_tokens_cut.

    Raises:
        UserError: a response without text, a rating or preference outside [0, 1], a
            margin below 0, or a comparison with another number of completions than the
            first; the row is named, counted from 1.
    """
    if min(max_prompt, max_response) < 1:
        raise UserError(
            f'max_prompt {max_prompt} and max_response {max_response} must be at least '
            '1: bos and eos count'
        )
    counts = collections.Counter(dict.fromkeys(_COUNTS, 0))
    prompts, completions, labels = [], [], []
    for row, record in enumerate(records, 1):
        prompt, responses, label = _parts(record)
        _check(row, record, responses, label, completions)
        prompts.append(_prompt(prompt, tokenizer, max_prompt, counts))
        completions.append(
            tuple(
                _response(text, tokenizer, max_response, counts) for text in responses
            )
        )
        labels.append(label)
    counts['examples'] = len(prompts)
    labels = np.array(labels, np.float32)
    extra = _strengths(records)
    return Examples(prompts, completions, labels, tokenizer.pad, *extra), dict(counts)


_COUNTS = (
    'examples',
    'prompt_tokens',
    'response_tokens',
    'prompts_cut',
    'prompt_tokens_cut',
    'responses_cut',
    'response_tokens_cut',
)


def _strengths(records):
    """Margins and preferences where the records are comparisons."""
    if not records or not isinstance(records[0], Comparison):
        return None, None
    for row, record in enumerate(records, 1):
        if not 0 <= record.preference <= 1:
            raise UserError(
                f'row {row}: the preference {record.preference} is not between 0 and 1'
            )
        if not 0 <= record.margin < math.inf:
            raise UserError(
                f'row {row}: the margin {record.margin} is not a number of at least 0'
            )
    fields = ('margin', 'preference')
    return (np.array([getattr(r, f) for r in records], np.float32) for f in fields)


def _parts(record: Record | str) -> tuple[str, tuple[str, ...], float]:
    match record:
        case str():
            return record, (), 1.0
        case Demonstration(prompt, response):
            return prompt, (response,), 1.0
        case Comparison(prompt, completions):
            return prompt, tuple(completions), 1.0
        case Rating(prompt, response, label):
            return prompt, (response,), float(label)
    raise TypeError(f'not a record: {record!r}')


def _check(
    row: int,
    record: Record | str,
    responses: tuple[str, ...],
    label: float,
    before: list[tuple],
) -> None:
    for place, text in enumerate(responses, 1):
        if not text.strip():
            raise UserError(
                f'row {row}: completion {place} is empty, so there is nothing to '
                'learn from it; drop the row or give it text'
            )
    if not 0 <= label <= 1:
        raise UserError(f'row {row}: the label {label} is not between 0 and 1')
    if isinstance(record, Comparison) and len(responses) < 2:
        raise UserError(
            f'row {row}: a comparison needs two completions or more, '
            f'this one has {len(responses)}'
        )
    if before and len(responses) != len(before[0]):
        raise UserError(
            f'row {row} has {len(responses)} completions, row 1 has {len(before[0])}: '
            'give all rows as many, or write each ranking as rows of two '
            '(perl.data.pairs does it)'
        )


def _prompt(
    text: str, tokenizer: Tokenizer, limit: int, counts: collections.Counter
) -> np.ndarray:
    ids = tokenizer.encode(text)
    cut = max(0, len(ids) + 1 - limit)
    counts['prompts_cut'] += cut > 0
    counts['prompt_tokens_cut'] += cut
    counts['prompt_tokens'] += len(ids) + 1 - cut
    return np.array([tokenizer.bos, *ids[cut:]], np.int32)


def _response(
    text: str, tokenizer: Tokenizer, limit: int, counts: collections.Counter
) -> np.ndarray:
    ids = [*tokenizer.encode(text), tokenizer.eos]
    cut = max(0, len(ids) - limit)
    counts['responses_cut'] += cut > 0
    counts['response_tokens_cut'] += cut
    counts['response_tokens'] += len(ids) - cut
    return np.array(ids[:limit], np.int32)
