"""The counts of what encoding does to the rows of a split; `COUNTS` explains each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from perl.data.records import Rating, Record
from perl.data.tokenizers.vocabularies import Tokenizer

# Rows are the records passed to `encode`; examples are the rows that it keeps. The
# first ten counts are over the examples, the last three over the rows.
COUNTS = {
    'examples': 'rows that are kept',
    'responses': 'responses of the examples: 0 for a prompt alone, K for a comparison',
    'prompt_tokens': 'tokens of prompts after cutting, bos included',
    'response_tokens': 'tokens of responses after cutting, eos included',
    'prompts_cut': 'prompts that lose their beginning, of messages the oldest',
    'prompt_tokens_cut': 'tokens that these prompts lose',
    'responses_cut': 'responses that lose their end, and eos with it',
    'response_tokens_cut': 'tokens that these responses lose',
    'unknown_tokens': 'tokens that are missing or stand for "unknown", because the '
    'vocabulary lacks a character; counted before cutting',
    'boundary_merges': 'responses that begin with other tokens than they would in the '
    'running text, where one token reaches over the end of the prompt',
    'equal_completions': 'comparisons with two completions of the same text',
    'equal_after_cut': 'comparisons with two completions of different text, but of the '
    'same tokens after cutting; and ratings of the tokens of an earlier one after '
    'cutting, with another text and another label',
    'dropped': 'comparisons that are not kept, since all their completions are equal',
}

# Characters on each side of the end of a prompt that decide which tokens meet there.
_NEIGHBOURHOOD = 100


class Part(NamedTuple):
    """A prompt or a response.

    Attributes:
        text: the record's text.
        ids: all of its tokens; of a plain text without bos and eos.
        tokens: the tokens after cutting; a plain prompt has bos where the tokenizer
            puts it there, a response has eos.
        cut: how many tokens were cut.
        edge: the text beside the other part, up to the first control token.
        mask: which of the tokens the model learns to say; None for all.
    """

    text: str
    ids: list[int]
    tokens: list[int]
    cut: int
    edge: str
    mask: list[bool] | None = None


def of_example(
    prompt: Part, responses: Sequence[Part], tokenizer: Tokenizer
) -> dict[str, int]:
    """The counts of one kept example."""
    parts = [prompt, *responses]
    cut = [part.cut for part in parts]
    merges = (_merges(prompt.edge, part.edge, tokenizer) for part in responses)
    return {
        'examples': 1,
        'responses': len(responses),
        'prompt_tokens': len(prompt.tokens),
        'response_tokens': sum(len(part.tokens) for part in responses),
        'prompts_cut': int(cut[0] > 0),
        'prompt_tokens_cut': cut[0],
        'responses_cut': sum(tokens > 0 for tokens in cut[1:]),
        'response_tokens_cut': sum(cut[1:]),
        'unknown_tokens': sum(tokenizer.unknown(p.text, p.ids) for p in parts),
        'boundary_merges': sum(merges),
    }


def of_equality(completions: Sequence[Part], different: int) -> dict[str, int]:
    """The counts of equal completions in a comparison.

    Args:
        completions: all completions.
        different: number of completions with different tokens after cutting.
    """
    texts = len({part.text for part in completions})
    return {
        'equal_completions': int(texts < len(completions)),
        'equal_after_cut': int(different < texts),
        'dropped': int(different < 2),
    }


def contradictions(
    records: Sequence[Record | str],
    prompts: Sequence[np.ndarray],
    completions: Sequence[tuple[np.ndarray, ...]],
) -> int:
    """How many ratings contradict an earlier one once cut: other text and other label,
    but the same tokens.

    Args:
        records: n, of any kind.
        prompts: their tokens after cutting, n arrays `[P_i]`.
        completions: the same, K_i arrays each.
    """
    first: dict[tuple[bytes, ...], Rating] = {}
    count = 0
    for record, *parts in zip(records, prompts, completions, strict=True):
        if isinstance(record, Rating):
            key = parts[0].tobytes(), parts[1][0].tobytes()
            other = first.setdefault(key, record)
            texts = {(x.prompt, x.response) for x in (record, other)}
            count += len(texts) == 2 and record.label != other.label
    return count


def _merges(prompt: str, response: str, tokenizer: Tokenizer) -> bool:
    """Whether a token of the running text reaches over the end of the prompt."""
    before, after = prompt[-_NEIGHBOURHOOD:], response[:_NEIGHBOURHOOD]
    start = len(prompt) <= _NEIGHBOURHOOD
    together = tokenizer.encode(before + after, start)
    apart = tokenizer.encode(before, start), tokenizer.encode(after, not prompt)
    return together != [*apart[0], *apart[1]]
