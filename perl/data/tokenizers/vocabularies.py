"""Text to token ids and back: bytes, SentencePiece, tokenizer.json.

`encode` adds no special tokens and text can never become one; `decode` drops them.
Special ids are explicit, and pad may equal eos: nothing ever asks an id whether it is
padding. Unless said otherwise a tokenizer is exact: decode(encode(text)) == text.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Protocol

from perl.system import atomic, jsonl
from perl.system.errors import UserError

META = 'tokenizer.meta.json'

# ModelProto.normalizer_spec {precompiled_charsmap: '', add_dummy_prefix: false,
# remove_extra_whitespaces: false} on the wire: protobuf merges a message that is
# appended into the one before it.
_EXACT = b'\x1a\x06\x12\x00\x18\x00\x20\x00'


class Tokenizer(Protocol):
    """What the package asks of a tokenizer."""

    size: int
    pad: int
    bos: int
    eos: int

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the sha256 of everything that decides the ids."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; special tokens vanish."""

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes what `load(folder)` needs."""


def _or(token: int, other: int) -> int:
    """`token`, or `other` where SentencePiece says -1 for 'there is none'."""
    return token if token >= 0 else other


def write(
    folder: str | pathlib.Path, meta: dict, file: str = '', content: bytes = b''
) -> None:
    """Puts a tokenizer's meta data, and its file where it has one, in a folder."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if file:
        atomic.write_bytes(folder / file, content)
    jsonl.save(folder / META, meta)


def digest(*parts: object) -> str:
    """Sixteen hex digits of the sha256 of some values."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part if isinstance(part, bytes) else repr(part).encode())
    return sha.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Bytes:
    """UTF-8 bytes: 0 pad, 1 bos, 2 eos, then 3 + byte. Needs no file."""

    size: int = 259
    pad: int = 0
    bos: int = 1
    eos: int = 2

    @property
    def fingerprint(self) -> str:
        return digest('bytes', self.size, self.pad, self.bos, self.eos)

    def encode(self, text: str) -> list[int]:
        return [3 + byte for byte in text.encode('utf-8', 'surrogatepass')]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(int(i) - 3 for i in ids if 3 <= i < 259).decode('utf-8', 'replace')

    def save(self, folder: str | pathlib.Path) -> None:
        write(folder, {'kind': 'bytes'})


class SentencePiece:
    """A SentencePiece model.

    A model without a pad takes eos for it, one without a bos takes pad (as T5 does).

    Args:
        model: the serialised model.
        exact: switch off the model's normalisation, leading space and collapse of
            spaces, so that `encode(prompt) + encode(response)` is the text and nothing
            else. False keeps what the model was trained with. Even so U+2581, with
            which SentencePiece writes a space, becomes one.
    """

    def __init__(self, model: bytes, exact: bool = True):
        import sentencepiece

        try:
            self._processor = sentencepiece.SentencePieceProcessor(
                model_proto=model + (_EXACT if exact else b'')
            )
        except Exception as error:
            raise UserError(f'not a SentencePiece model: {error}') from error
        self._model, self._exact = model, exact
        self.size = self._processor.vocab_size()
        self.eos = self._processor.eos_id()
        if self.eos < 0:
            raise UserError('the SentencePiece model has no end-of-sequence token')
        self.pad = _or(self._processor.pad_id(), self.eos)
        self.bos = _or(self._processor.bos_id(), self.pad)

    @property
    def fingerprint(self) -> str:
        return digest('sentencepiece', self._exact, self._model)

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        special = (self.pad, self.bos, self.eos)
        return self._processor.decode([int(i) for i in ids if i not in special])

    def save(self, folder: str | pathlib.Path) -> None:
        meta = {'kind': 'sentencepiece', 'exact': self._exact}
        write(folder, meta, 'tokenizer.model', self._model)


class Json:
    """A `tokenizer.json` of the `tokenizers` library, its special tokens by name."""

    def __init__(self, content: str, *, pad: str, bos: str, eos: str):
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(content)
        except Exception as error:
            raise UserError(f'not a tokenizer.json: {error}') from error
        # what is cut is for the window to say, and to count
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._content = content
        self._special = {'pad': pad, 'bos': bos, 'eos': eos}
        self.pad, self.bos, self.eos = map(self._id, self._special.values())
        self.size = max(self._tokenizer.get_vocab(True).values()) + 1

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            added = [
                entry.content
                for entry in self._tokenizer.get_added_tokens_decoder().values()
            ]
            raise UserError(
                f'tokenizer.json has no token {token!r}; its special tokens are '
                f'{", ".join(map(repr, added)) or "none"}'
            )
        return found

    @property
    def fingerprint(self) -> str:
        return digest('json', self._special, self._content.encode())

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        special = (self.pad, self.bos, self.eos)
        kept = [int(i) for i in ids if i not in special]
        return self._tokenizer.decode(kept, skip_special_tokens=True)

    def save(self, folder: str | pathlib.Path) -> None:
        meta = {'kind': 'json', **self._special}
        write(folder, meta, 'tokenizer.json', self._content.encode())
