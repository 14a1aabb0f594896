"""The tokenizer file of llama2.c and its byte-pair merges (run.c, `encode`)."""

import functools
import itertools
import pathlib
import re
import struct
from collections.abc import Sequence

from perl.data.tokenizers.vocabularies import Control, LeadingSpace, digest, write
from perl.system.errors import UserError

# The ids below this are unk, bos, eos and the 256 bytes.
PIECES = 259


def read(content: bytes) -> tuple[list[bytes], list[float]]:
    """The pieces and their scores.

    The file is an int32 (the longest piece), then for each token a float32 score, an
    int32 length and the bytes.

    Raises:
        UserError: the file ends inside a token or has too few tokens.
    """
    pieces, scores, at = [], [], 4
    while at < len(content):
        try:
            score, length = struct.unpack_from('<fi', content, at)
        except struct.error:
            length = -1
        piece = content[at + 8 : at + 8 + max(length, 0)]
        if length < 0 or len(piece) < length:
            raise UserError(
                f'the llama2.c tokenizer ends inside token {len(pieces)}: '
                'the file is damaged or has another format'
            )
        pieces.append(piece)
        scores.append(score)
        at += 8 + length
    if len(pieces) < PIECES:
        raise UserError(
            f'a llama2.c tokenizer has at least {PIECES} tokens, this one {len(pieces)}'
        )
    pieces[3:PIECES] = [bytes([byte]) for byte in range(256)]
    return pieces, scores


def words(text: str) -> list[str]:
    """Splits a text into words, each with the spaces before it; merges stay inside."""
    return re.findall(r' *[^ ]+| +', text)


def merge(word: str, ids: dict[bytes, int], scores: list[float]) -> tuple[int, ...]:
    """Merges characters (or their bytes), best score first, leftmost in a tie."""
    parts: list[tuple[bytes, int]] = []
    for character in word:
        raw = character.encode('utf-8', 'surrogatepass')
        if raw in ids:
            parts.append((raw, ids[raw]))
        else:
            parts.extend((bytes([byte]), 3 + byte) for byte in raw)
    while True:
        candidates = [
            (-scores[ids[left + right]], place)
            for place, ((left, i), (right, j)) in enumerate(itertools.pairwise(parts))
            # Only pieces are merged, never raw bytes.
            if min(i, j) >= PIECES and left + right in ids
        ]
        if not candidates:
            return tuple(i for _, i in parts)
        _, place = min(candidates)
        joined = parts[place][0] + parts[place + 1][0]
        parts[place : place + 2] = [(joined, ids[joined])]


class Llama2c(LeadingSpace):
    """The `tokenizer.bin` of llama2.c: ids 0 unk, 1 bos, 2 eos, 3-258 bytes, pieces.

    Args:
        content: the file.
        leading_space: whether a space goes before the start of a text, as in llama2.c.

    Raises:
        UserError: the file is damaged or has another format.
    """

    def __init__(self, content: bytes, leading_space: bool = True):
        self._content, self.leading_space = content, leading_space
        self._pieces, self._scores = read(content)
        self._ids_of = {piece: i for i, piece in enumerate(self._pieces) if i >= PIECES}
        self._word = functools.lru_cache(65536)(
            lambda word: merge(word, self._ids_of, self._scores)
        )
        self.size = len(self._pieces)
        self.bos, self.eos = 1, 2
        self.pad = self.eos

    @property
    def controls(self) -> dict[str, Control]:
        return {'<s>': Control(self.bos), '</s>': Control(self.eos)}

    @property
    def fingerprint(self) -> str:
        # False keeps the fingerprint of existing runs without a leading space
        how = 'leading space' if self.leading_space else False
        return digest('llama2c', how, self._content)

    def _ids(self, text: str) -> list[int]:
        return [i for word in words(text) for i in self._word(word)]

    def _text(self, ids: Sequence[int]) -> str:
        text = b''.join(self._pieces[i] for i in ids if i > self.eos)
        return text.decode('utf-8', 'replace')

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        del text, ids  # every character has bytes
        return 0

    def save(self, folder: str | pathlib.Path) -> None:
        meta = {'kind': 'llama2c', 'leading_space': self.leading_space}
        write(folder, meta, 'tokenizer.bin', self._content)
