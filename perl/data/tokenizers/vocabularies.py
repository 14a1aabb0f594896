"""What every tokenizer does, and the one that needs no file: UTF-8 bytes.

`encode` adds no special tokens and text can never become one; `decode` drops them.
Special ids are explicit, and pad may equal eos: nothing ever asks an id whether it is
padding. Unless a tokenizer says otherwise it is exact, also for a text in parts:
decode(encode(a) + encode(b)) == a + b.
"""

import abc
import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Protocol

from perl.system import atomic, jsonl

META = 'tokenizer.meta.json'


class Tokenizer(Protocol):
    """What the package asks of a tokenizer."""

    size: int
    pad: int
    bos: int
    eos: int

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the sha256 of everything that decides the ids."""

    def encode(self, text: str, start: bool = False) -> list[int]:
        """The ids of a text, without special tokens.

        Args:
            text: all of a text, or a part of one that goes on where another ended.
            start: the text begins here, so that a tokenizer whose vocabulary was
                trained with a space before every text puts it there. A prompt is
                encoded with it, and the response that continues it without.
        """

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; special tokens vanish.

        Ids that begin with bos are the start of a text: the space that `encode` put
        there is taken off again.
        """

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        """How many tokens of `encode(text)` are missing or stand for "unknown", because
        the vocabulary lacks a character of the text."""

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes what `load(folder)` needs."""


class LeadingSpace(abc.ABC):
    """The part of a tokenizer that puts a space before the start of a text.

    Attributes:
        leading_space: whether it does, because its vocabulary was trained so.
        bos: the id before the start of a text.
    """

    leading_space: bool
    bos: int

    def encode(self, text: str, start: bool = False) -> list[int]:
        return self._ids(f' {text}' if start and text and self.leading_space else text)

    def decode(self, ids: Sequence[int]) -> str:
        text = self._text(ids)
        start = self.leading_space and len(ids) and ids[0] == self.bos
        return text.removeprefix(' ') if start else text

    @abc.abstractmethod
    def _ids(self, text: str) -> list[int]:
        """The ids of a text as it is."""

    @abc.abstractmethod
    def _text(self, ids: Sequence[int]) -> str:
        """The text of some ids as it is, without special tokens."""


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

    def encode(self, text: str, start: bool = False) -> list[int]:
        del start  # no space is put before a text
        return [3 + byte for byte in text.encode('utf-8', 'surrogatepass')]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(int(i) - 3 for i in ids if 3 <= i < 259).decode('utf-8', 'replace')

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        del text, ids  # every character has bytes
        return 0

    def save(self, folder: str | pathlib.Path) -> None:
        write(folder, {'kind': 'bytes'})
