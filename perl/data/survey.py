"""Surveys records before training: lengths, cut texts and unusual records."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perl.data.examples import encode
from perl.data.packing import pack
from perl.data.parts import document, prompt_part, response_part
from perl.data.records import Comparison, Rating, Record, responses
from perl.data.tokenizers.vocabularies import Tokenizer

ANY = sys.maxsize  # a length that cuts nothing
# counts that need no attention, or that `words` puts into a separate phrase
_PLAIN = (
    *('examples', 'responses', 'prompt_tokens', 'response_tokens', 'good_ratings'),
    *('prompts_cut', 'prompt_tokens_cut', 'responses_cut', 'response_tokens_cut'),
)


def records(
    rows: Sequence[Record | str],
    tokenizer: Tokenizer,
    max_prompt: int,
    max_response: int,
) -> dict[str, Any]:
    """The figures of records of one kind, or of prompts alone.

    Args:
        rows: the records of one split.
        tokenizer: counts their tokens.
        max_prompt, max_response: the lengths to which `encode` cuts, in tokens.

    Returns:
        The counts of `encode`; p50, p95 and max of the tokens of prompts and responses
        before cutting (`prompt_p50`, ...); those of `labels`.

    Raises:
        UserError: as `encode` does.
    """
    _, counts = encode(rows, tokenizer, max_prompt, max_response)
    prompts = [row if isinstance(row, str) else row.prompt for row in rows]
    figures = dict(counts)
    asked = [prompt_part(prompt, tokenizer, ANY) for prompt in prompts]
    answers = [
        response_part(prompt, response, tokenizer, ANY)
        for prompt, row in zip(prompts, rows, strict=True)
        for response in responses(row)
    ]
    for name, parts in (('prompt', asked), ('response', answers)):
        figures |= _spread(name, [len(part.tokens) for part in parts])
    return figures | labels(rows)


def labels(rows: Sequence[Record | str]) -> dict[str, int]:
    """For comparisons `ties` (preference 1/2), for ratings `good_ratings` (0.5 or
    more); empty for other records.

    Args:
        rows: the records of one kind and split.
    """
    if rows and isinstance(rows[0], Comparison):
        return {'ties': sum(row.preference == 0.5 for row in rows)}
    if rows and isinstance(rows[0], Rating):
        return {'good_ratings': sum(row.label >= 0.5 for row in rows)}
    return {}


def texts(documents: Sequence[str], tokenizer: Tokenizer, length: int) -> dict:
    """The figures of documents that are packed into rows of `length` tokens: documents,
    tokens, rows, and p50, p95 and max of the tokens of a document."""
    packed = pack(documents, tokenizer, length)
    tokens = [len(document(text, tokenizer)) for text in documents]
    return {
        'documents': len(documents),
        'tokens': sum(tokens),
        'rows': len(packed['tokens']),
        **_spread('document', tokens),
    }


def words(counts: Mapping[str, int]) -> str:
    """What is cut or unusual, as a readable phrase; '' if nothing is.

    Args:
        counts: from `encode` or `records`; unknown names are included too.
    """
    cut = []
    for name in ('prompt', 'response'):
        if counts.get(f'{name}s_cut'):
            tokens = many(counts[f'{name}_tokens_cut'], 'token')
            cut.append(f'{many(counts[f"{name}s_cut"], name)} ({tokens})')
    parts = [f'cut {" and ".join(cut)}'] if cut else []
    merged = counts.get('boundary_merges', 0) > counts.get('responses', 0) / 2
    parts += [
        f'{name.replace("_", " ")} {count:,}'
        for name, count in counts.items()
        if isinstance(count, int) and count and name not in _PLAIN
        if not name.endswith(('_p50', '_p95', '_max'))
        if not (merged and name == 'boundary_merges')
    ]
    if merged:
        parts.append(
            f'{counts["boundary_merges"]:,} of {counts["responses"]:,} responses join '
            'the end of their prompt in one token: begin the response with the space '
            "that is between them, as the template ' {response}' does"
        )
    if counts.get('good_ratings') in (0, counts.get('examples')):
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
