"""Packs documents into full rows, to pre-train on."""

from collections.abc import Sequence

import numpy as np

from perl.data.batching import Batch, fill
from perl.data.parts import document
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system.errors import UserError


def pack(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> Batch:
    """Packs all documents into rows of `length` slots; returns one batch.

    A document, see `perl.data.parts.document`, that is longer than a row continues in
    another row, and no token is lost. The documents of a row are segments 1, 2, … and
    do not attend to each other; positions restart; every token except the first of a
    document is predicted. `ends` `[N, 1]` is the last used slot, `labels` float32 `[N]`
    is 1. Rows are filled best-fit, longest documents first, so rows must be shuffled
    before use.

    Raises:
        UserError: there is no text, or a row has less than two tokens.
    """
    if length < 2:
        raise UserError(f'a packed row of {length} tokens has nothing to predict')
    pieces = [
        piece for text in texts for piece in _pieces(text, tokenizer, length) if text
    ]
    if not pieces:
        raise UserError('there is no text to pack')
    rows: list[list[np.ndarray]] = []
    room: list[list[int]] = [[] for _ in range(length + 1)]
    for piece in sorted(pieces, key=len, reverse=True):
        space = next((s for s in range(len(piece), length + 1) if room[s]), length)
        if room[space]:
            row = room[space].pop()
        else:
            row = len(rows)
            rows.append([])
        rows[row].append(piece)
        if space > len(piece):
            room[space - len(piece)].append(row)
    parts = [[(ids, k, None, 0) for k, ids in enumerate(row, 1)] for row in rows]
    batch = fill(parts, tokenizer.pad, length)
    batch['completion'] = (batch['segments'] > 0) & (batch['positions'] > 0)
    batch['ends'] = (batch['segments'] > 0).sum(1, keepdims=True, dtype=np.int32) - 1
    batch['labels'] = np.ones(len(rows), np.float32)
    return batch


def _pieces(text: str, tokenizer: Tokenizer, length: int) -> list[np.ndarray]:
    """Cuts a document into rows; each piece begins with the last token of the previous
    piece, so that every token is predicted."""
    ids = np.array(document(text, tokenizer), np.int32)
    return [ids[at : at + length] for at in range(0, len(ids) - 1, length - 1)]
