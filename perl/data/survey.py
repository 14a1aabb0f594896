"""Surveys records before training: how long they are, what is cut, what is odd."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perl.data import batching
from perl.data.examples import encode
from perl.data.records import Comparison, Rating, Record
from perl.data.tokenizers.vocabularies import Tokenizer

_ANY_LENGTH = 2**31 - 1
# counts that say nothing is wrong, or that `words` puts into a sentence of its own
_PLAIN = (
    *('examples', 'responses', 'prompt_tokens', 'response_tokens', 'ratings_good'),
    *('prompts_cut', 'prompt_tokens_cut', 'responses_cut', 'response_tokens_cut'),
)


def records(
    rows: Sequence[Record | str],
    tokenizer: Tokenizer,
    max_prompt: int,
    max_response: int,
) -> dict[str, Any]:
    """The figures of records of one kind, or of bare prompts.

    Args:
        rows: of one split.
        tokenizer: counts their tokens.
        max_prompt, max_response: where `encode` cuts, in tokens.

    Returns:
        The counts of `encode`; `responses`; p50, p95 and max of the tokens of prompts
        and responses before anything is cut (`prompt_p50`, ...); and `oddities`.
    """
    whole, _ = encode(rows, tokenizer, _ANY_LENGTH, _ANY_LENGTH)
    _, counts = encode(rows, tokenizer, max_prompt, max_response)
    lengths = {
        'prompt': [len(ids) for ids in whole.prompts],
        'response': [len(ids) for row in whole.completions for ids in row],
    }
    figures = dict(counts)
    for name, values in lengths.items():
        figures |= _spread(name, values)
    return figures | {'responses': len(lengths['response'])} | oddities(rows)


def oddities(rows: Sequence[Record | str]) -> dict[str, int]:
    """How many comparisons are ties (`ties`: no order is preferred) or have two equal
    completions (`equal_completions`), and how many ratings are good (`ratings_good`:
    0.5 or more)."""
    if not rows or isinstance(rows[0], str):
        return {}
    if isinstance(rows[0], Comparison):
        equal = [len(set(row.completions)) < len(row.completions) for row in rows]
        ties = [row.preference == 0.5 for row in rows]
        return {'ties': sum(ties), 'equal_completions': sum(equal)}
    if isinstance(rows[0], Rating):
        return {'ratings_good': sum(row.label >= 0.5 for row in rows)}
    return {}


def texts(documents: Sequence[str], tokenizer: Tokenizer, length: int) -> dict:
    """The figures of documents that are packed into rows of `length` tokens: documents,
    tokens, rows, and p50, p95 and max of the tokens of a document."""
    packed = batching.pack(documents, tokenizer, length)
    tokens = [len(tokenizer.encode(text)) + 2 for text in documents]  # bos and eos
    return {
        'documents': len(documents),
        'tokens': sum(tokens),
        'rows': len(packed['tokens']),
        **_spread('document', tokens),
    }


def words(counts: Mapping[str, int]) -> str:
    """What is cut and what is odd, for a person; '' where nothing is.

    Args:
        counts: of `encode` or `records`; names that are not known here are told too.
    """
    cut = []
    for name in ('prompt', 'response'):
        if counts.get(f'{name}s_cut'):
            tokens = many(counts[f'{name}_tokens_cut'], 'token')
            cut.append(f'{many(counts[f"{name}s_cut"], name)} ({tokens})')
    parts = [f'cut {" and ".join(cut)}'] if cut else []
    parts += [
        f'{name.replace("_", " ")} {count:,}'
        for name, count in counts.items()
        if isinstance(count, int) and count and name not in _PLAIN
        if not name.endswith(('_p50', '_p95', '_max'))
    ]
    if counts.get('ratings_good') in (0, counts.get('examples')):
        parts.append('all labels are on one side')
    return ', '.join(parts)


def many(count: int, noun: str) -> str:
    """`1 token`, `2,000 tokens`."""
    return f'{count:,} {noun}' if count == 1 else f'{count:,} {noun}s'


def _spread(name, values):
    if not values:
        return {}
    return {
        f'{name}_p50': int(np.percentile(values, 50)),
        f'{name}_p95': int(np.percentile(values, 95)),
        f'{name}_max': int(max(values)),
    }
