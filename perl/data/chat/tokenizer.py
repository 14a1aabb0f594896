"""A tokenizer with the chat template of its model."""

import dataclasses
import pathlib
from collections.abc import Sequence

from perl.data.chat.template import Template
from perl.data.tokenizers.vocabularies import Control, Tokenizer
from perl.system import atomic, jsonl, schema
from perl.system.errors import UserError

TEMPLATE, CARD = 'chat_template.jinja', 'chat.json'


@dataclasses.dataclass(frozen=True)
class ChatTokenizer:
    """A tokenizer of texts, and what conversations are rendered with.

    It is the tokenizer that it holds in all but `stops` and `save`; the template has no
    part in the fingerprint, which is that of the vocabulary.

    Attributes:
        tokenizer: of ordinary text.
        template: of conversations.
        stops: the ids that end a response, the end of a turn first.
    """

    tokenizer: Tokenizer
    template: Template
    stops: tuple[int, ...]

    @property
    def size(self) -> int:
        return self.tokenizer.size

    @property
    def pad(self) -> int:
        return self.tokenizer.pad

    @property
    def bos(self) -> int:
        return self.tokenizer.bos

    @property
    def eos(self) -> int:
        return self.tokenizer.eos

    @property
    def adds_bos(self) -> bool:
        return self.tokenizer.adds_bos

    @property
    def reach(self) -> int:
        return max(self.tokenizer.reach, *(stop + 1 for stop in self.stops))

    @property
    def holes(self) -> tuple[int, ...]:
        return self.tokenizer.holes

    @property
    def fingerprint(self) -> str:
        return self.tokenizer.fingerprint

    @property
    def controls(self) -> dict[str, Control]:
        return self.tokenizer.controls

    @property
    def space_everywhere(self) -> bool:
        return self.tokenizer.space_everywhere

    @property
    def doubles_space(self) -> bool:
        return self.tokenizer.doubles_space

    def encode(self, text: str, start: bool = False) -> list[int]:
        return self.tokenizer.encode(text, start)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids)

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        return self.tokenizer.unknown(text, ids)

    def save(self, folder: str | pathlib.Path) -> None:
        folder = pathlib.Path(folder)
        self.tokenizer.save(folder)
        template = self.template
        atomic.write_text(folder / TEMPLATE, template.source)
        card = {'bos': template.bos, 'eos': template.eos, 'stops': list(self.stops)}
        jsonl.save(folder / CARD, card)


def stops(tokenizer: Tokenizer) -> int | tuple[int, ...]:
    """The ids that end a response: eos, or those that belong to a chat template."""
    return getattr(tokenizer, 'stops', tokenizer.eos)


def is_saved(folder: pathlib.Path) -> bool:
    """Whether a folder has the template that `save` wrote, and its card."""
    return (folder / CARD).is_file() and (folder / TEMPLATE).is_file()


def saved(tokenizer: Tokenizer, folder: pathlib.Path) -> Tokenizer:
    """The tokenizer of a folder with the template that `save` wrote beside it."""
    if not (folder / CARD).is_file():
        return tokenizer
    card = jsonl.load(folder / CARD)
    try:
        schema.check_fields(card, {'bos': '', 'eos': '', 'stops': (0,)})
    except ValueError as error:
        raise UserError(
            f'{folder / CARD} is damaged ({error}); put a copy back'
        ) from error
    source = (folder / TEMPLATE).read_text('utf-8')
    template = Template(source, card['bos'], card['eos'], str(folder / TEMPLATE))
    return ChatTokenizer(tokenizer, template, tuple(card['stops']))
