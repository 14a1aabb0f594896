"""The interface of tokenizers, and the byte tokenizer, which needs no file.

`encode` adds no special tokens, and text never becomes one; `decode` drops them.
Special ids are explicit, and pad may equal eos: the code never compares an id with pad.
Unless a tokenizer documents otherwise it is exact, also for a text in parts:
decode(encode(a) + encode(b)) == a + b.
"""

import abc
import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from perl.system import atomic, jsonl

META = 'tokenizer.meta.json'


class Control(NamedTuple):
    """A control token: text never becomes one.

    Attributes:
        id: its number.
        lstrip, rstrip: whether it takes the white space before it, and after it.
    """

    id: int
    lstrip: bool = False
    rstrip: bool = False


class Tokenizer(Protocol):
    """The interface of a tokenizer."""

    size: int
    pad: int
    bos: int
    eos: int

    @property
    def adds_bos(self) -> bool:
        """Whether a plain text begins with bos, as the model's own tokenizer says."""

    @property
    def reach(self) -> int:
        """One more than the highest id that `encode` gives or that pad, bos and eos
        have: `size`, unless the last ids are special tokens of other uses."""

    @property
    def holes(self) -> tuple[int, ...]:
        """The ids below `size` that no piece has, so that no text has them."""

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the sha256 of all that determines the ids."""

    @property
    def controls(self) -> dict[str, Control]:
        """The control tokens by the texts that name them in a chat template."""

    @property
    def space_everywhere(self) -> bool:
        """Whether the space that belongs before the start of a text belongs after each
        control token too."""

    @property
    def doubles_space(self) -> bool:
        """Whether that space belongs before a text too that begins with one."""

    def encode(self, text: str, start: bool = False) -> list[int]:
        """The ids of a text, without special tokens.

        Args:
            text: a whole text, or a part that continues an earlier part.
            start: whether the text begins here. A tokenizer whose vocabulary was
                trained with a space before every text then adds this space. Prompts are
                encoded with start=True, responses that continue them with False.
        """

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens.

        If the ids begin with bos, they are the start of a text, and the space that
        `encode` added is removed.
        """

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        """The number of tokens of `encode(text)` that are missing or the unknown token,
        because the vocabulary lacks a character of the text."""

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes the files that `load(folder)` needs."""


class Vocabulary:
    """Base class of tokenizers: every id below `size` has a piece, where a subclass
    does not say otherwise."""

    size: int

    @property
    def reach(self) -> int:
        return self.size

    @property
    def holes(self) -> tuple[int, ...]:
        return ()


class LeadingSpace(Vocabulary, abc.ABC):
    """Base class of tokenizers that may put a space before the start of a text.

    Attributes:
        leading_space: whether it does so, as in the training of its vocabulary.
        bos: the id before the start of a text.
        adds_bos: whether it is put there.
    """

    leading_space: bool
    bos: int
    adds_bos = True
    space_everywhere = False
    doubles_space = True

    def encode(self, text: str, start: bool = False) -> list[int]:
        return self._ids(f' {text}' if start and text and self.leading_space else text)

    def decode(self, ids: Sequence[int]) -> str:
        text = self._text(ids)
        start = self.leading_space and len(ids) and ids[0] == self.bos
        return text.removeprefix(' ') if start else text

    @abc.abstractmethod
    def _ids(self, text: str) -> list[int]:
        """The ids of a text, without a leading space."""

    @abc.abstractmethod
    def _text(self, ids: Sequence[int]) -> str:
        """The text of ids without special tokens; a leading space stays."""


def write(
    folder: str | pathlib.Path, meta: dict, file: str = '', content: bytes = b''
) -> None:
    """Writes a tokenizer's metadata, and its file if it has one, into a folder."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if file:
        atomic.write_bytes(folder / file, content)
    jsonl.save(folder / META, meta)


def digest(*parts: object) -> str:
    """Sixteen hex digits of the sha256 of values."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part if isinstance(part, bytes) else repr(part).encode())
    return sha.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Bytes(Vocabulary):
    """UTF-8 bytes: 0 pad, 1 bos, 2 eos, then 3 + byte. Needs no file."""

    size: int = 259
    pad: int = 0
    bos: int = 1
    eos: int = 2
    adds_bos: bool = True
    space_everywhere = doubles_space = False

    @property
    def controls(self) -> dict[str, Control]:
        return {'<s>': Control(self.bos), '</s>': Control(self.eos)}

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
