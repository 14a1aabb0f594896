"""Token ids of rendered conversations, and which of them a model learns.

The control tokens of a rendering are those that the template itself writes. The text of
such a token inside of a message is ordinary text: while the template runs, one unused
character stands for it, and it is put back before the ordinary text is encoded.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from perl.data.chat import turns
from perl.data.chat.template import CLOSE, OPEN, Messages, Template
from perl.data.chat.turns import matcher
from perl.data.tokenizers.vocabularies import Control, Tokenizer

_UNUSED = range(0xF0000, 0xFFFFE)  # code points of private use


class Piece(NamedTuple):
    """A part of a rendering.

    Attributes:
        ids: its tokens.
        text: its ordinary text, without control tokens.
        trained: whether the model learns to say it.
        first, last: its ordinary text before the first control token, and after the
            last one.
    """

    ids: list[int]
    text: str
    trained: bool
    first: str
    last: str


def encode(
    tokenizer: Tokenizer, template: Template, messages: Messages
) -> tuple[list[int], list[bool]]:
    """The ids of a whole conversation, and which of them are the assistant's: what the
    template has in `{% generation %}` blocks, as transformers marks it, else each turn
    with the token that ends it.

    A block may hold what begins a turn too. That is part of the prompt in training, and
    not learned: see `pieces`.

    Raises:
        UserError: the template raises an error, or the turns cannot be found: see
            `perl.data.chat.turns.split`.
    """
    ids, mask = [], []
    roles = [role for role, _ in messages]
    first = roles.index('assistant') if 'assistant' in roles else len(roles)
    safe, hidden = _protected(messages, tokenizer.controls)
    parts = turns.blocks(template, safe)
    parts = parts or turns.split(template, safe, first, tuple(tokenizer.controls))
    encoder = _Encoder(tokenizer, hidden)
    for text, trained in parts:
        piece = encoder.piece(text, trained)
        ids += piece.ids
        mask += [piece.trained] * len(piece.ids)
    return ids, mask


def prompt_ids(
    tokenizer: Tokenizer, template: Template, messages: Messages
) -> list[int]:
    """The ids of a conversation to which the model is to answer."""
    return prompt_piece(tokenizer, template, messages).ids


def prompt_piece(tokenizer: Tokenizer, template: Template, messages: Messages) -> Piece:
    """A conversation to which the model is to answer."""
    safe, hidden = _protected(messages, tokenizer.controls)
    text = template.render(safe, add_generation_prompt=True)
    return _Encoder(tokenizer, hidden).piece(text, False)


def pieces(
    tokenizer: Tokenizer, template: Template, messages: Messages, first: int
) -> list[Piece]:
    """The rendering of a conversation in parts, see `perl.data.chat.turns.split`, of
    which the first is the prompt: the first `first` messages. Raises as that does."""
    safe, hidden = _protected(messages, tokenizer.controls)
    parts = turns.split(template, safe, first, tuple(tokenizer.controls))
    encoder = _Encoder(tokenizer, hidden)
    return [encoder.piece(text, trained) for text, trained in parts]


def end_of_turn(tokenizer: Tokenizer, template: Template) -> int:
    """The id of the control token that ends a turn of the assistant: the first one
    after its content.

    Raises:
        UserError: there is none, or the template raises an error.
    """
    content = chr(_UNUSED[-1])
    text = template.render([('user', 'a'), ('assistant', content)])
    _, _, after = text.rpartition(content)
    found = matcher(tuple(tokenizer.controls)).search(after)
    if content not in text or found is None:
        raise turns.endless(template)
    return tokenizer.controls[found.group()].id


def _protected(
    messages: Messages, controls: Mapping[str, Control]
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The messages with an unused character for the text of each control token and for
    each mark, and what these characters stand for."""
    everything = ''.join(content for _, content in messages)
    named = [x for x in (*controls, OPEN, CLOSE) if x in everything]
    free = (chr(point) for point in _UNUSED if chr(point) not in everything)
    hidden = dict(zip(sorted(named, key=len, reverse=True), free, strict=False))

    def hide(content):
        for text, letter in hidden.items():
            content = content.replace(text, letter)
        return content

    safe = [(role, hide(content)) for role, content in messages]
    return safe, {letter: text for text, letter in hidden.items()}


class _Encoder:
    """Encodes the parts of one text in their order."""

    def __init__(self, tokenizer: Tokenizer, hidden: Mapping[str, str]):
        self._tokenizer, self._hidden = tokenizer, hidden
        self._controls = tokenizer.controls
        self._doubles = tokenizer.doubles_space
        self._pattern = matcher(tuple(self._controls))
        self._start = True  # whether the next ordinary text gets a leading space
        self._last: Control | None = None  # the control token right before it

    def piece(self, text: str, trained: bool) -> Piece:
        ids, ordinary, at = [], [], 0
        matches: Sequence[re.Match | None] = [*self._pattern.finditer(text), None]
        for match in matches:
            control = self._controls[match.group()] if match else None
            part = text[at : match.start() if match else len(text)]
            ordinary.append(self._restored(self._stripped(part, control)))
            ids += self._plain(ordinary[-1])
            if match:
                ids.append(control.id)
                self._start = self._tokenizer.space_everywhere
                self._last, at = control, match.end()
        return Piece(ids, ''.join(ordinary), trained, ordinary[0], ordinary[-1])

    def _plain(self, text):
        if not text:
            return []
        start, self._start, self._last = self._start, False, None
        spaced = text.startswith((' ', '▁')) and not self._doubles
        return self._tokenizer.encode(text, start and not spaced)

    def _stripped(self, part, following):
        """Some control tokens take the white space beside them."""
        if self._last and self._last.rstrip:
            part = part.lstrip()
        return part.rstrip() if following and following.lstrip else part

    def _restored(self, text):
        for letter, hidden in self._hidden.items():
            text = text.replace(letter, hidden)
        return text
