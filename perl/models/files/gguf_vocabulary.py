"""The tokens of a GGUF file, and the merges that their scores stand for."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from perl.system.errors import UserError

# ggml's kinds of tokens
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_PADDING = re.compile(r'\[PAD\d+\]')  # rows of the embedding without a token
_ROLES = {'bos': 'bos', 'eos': 'eos', 'unk': 'unknown', 'pad': 'padding'}


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, without the padding at the end, and what is said of each.

    Attributes:
        tokens: the texts, as the file spells them.
        kinds: ggml's kind of each.
        scores: of SentencePiece; empty where there are none.
        special: tokens by role: bos, eos, unk, pad, where the file names them.
    """

    tokens: list[str]
    kinds: list[int]
    scores: list[float]
    special: dict[str, str]

    def of(self, *kinds: int) -> list[str]:
        """The tokens of some kinds."""
        both = zip(self.tokens, self.kinds, strict=True)
        return [token for token, kind in both if kind in kinds]

    def ids(self) -> dict[str, int]:
        """Ids by token; the first where two tokens have one text."""
        ids: dict[str, int] = {}
        for number, token in enumerate(self.tokens):
            ids.setdefault(token, number)
        return ids


def read_vocabulary(file: pathlib.Path, said: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that is said under `tokenizer.ggml`.

    Raises:
        UserError: there is none, or its parts do not fit.
    """
    tokens = said.get('tokens')
    if not tokens or not all(isinstance(x, str) for x in tokens):
        raise UserError(
            f'model.path: {file} has no tokenizer; set tokenizer.path to the '
            'tokenizer.json of the model'
        )
    kinds = said.get('token_type') or [NORMAL] * len(tokens)
    scores = said.get('scores') or []
    if len(kinds) != len(tokens) or len(scores) not in (0, len(tokens)):
        raise UserError(
            f'model.path: {file} has {len(tokens)} tokens, {len(kinds)} kinds and '
            f'{len(scores)} scores of them; copy or convert it again'
        )
    special = {}
    for role, name in _ROLES.items():
        number = said.get(f'{name}_token_id')
        if number is None:
            continue
        if not isinstance(number, int) or not 0 <= number < len(tokens):
            raise UserError(
                f'model.path: {file}: its {name}_token_id {number} is not one of its '
                f'{len(tokens)} tokens; convert it again'
            )
        special[role] = tokens[number]
    size = len(tokens)
    while kinds[size - 1] == UNUSED and _PADDING.fullmatch(tokens[size - 1]):
        size -= 1
    return Vocabulary(tokens[:size], kinds[:size], scores[:size], special)


def pair_of(file: pathlib.Path, merge: str, ids: Mapping[str, int]) -> tuple[str, str]:
    """The two parts of a merge, which a space separates; a part may begin with one.

    Raises:
        UserError: one of them, or its product, is not a token.
    """
    at = merge.find(' ', 1)
    pair = merge[:at], merge[at + 1 :]
    if at < 0 or any(x not in ids for x in (*pair, ''.join(pair))):
        raise UserError(
            f'model.path: {file}: its merge {merge!r:.40} is not of two of its tokens; '
            'convert it again'
        )
    return pair


def merges_of(
    vocabulary: Vocabulary, ids: Mapping[str, int], scores: Sequence[float]
) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, the best piece first."""
    able = {*vocabulary.of(NORMAL)}
    found = []
    for token in able:
        score = scores[ids[token]]
        for at in range(1, len(token)):
            pair = token[:at], token[at:]
            if pair[0] in able and pair[1] in able:
                found.append((-score, ids[pair[0]], ids[pair[1]], pair))
    return [pair for *_, pair in sorted(found)]
