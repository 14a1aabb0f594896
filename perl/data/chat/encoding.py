"""Token ids of rendered conversations, and which of them a model learns to say.

The control tokens of a rendering are those that the template itself writes. The text of
such a token inside of a message is ordinary text: while the template runs, one unused
character stands for it, and it is put back before the ordinary text is encoded.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from perl.data.chat.template import CLOSE, OPEN, Messages, Template
from perl.data.tokenizers.vocabularies import Control, Tokenizer

_UNUSED = range(0xF0000, 0xFFFFE)  # code points of private use


class Piece(NamedTuple):
    """A part of a rendering.

    Attributes:
        ids: its tokens.
        text: its ordinary text, without control tokens.
        trained: whether the model learns to say it.
        edge: its ordinary text before the first control token.
    """

    ids: list[int]
    text: str
    trained: bool
    edge: str


def encode(
    tokenizer: Tokenizer, template: Template, messages: Messages
) -> tuple[list[int], list[bool]]:
    """The ids of a whole conversation, and which of them are trained on: the turns of
    the assistant with the token that ends each.

    Raises:
        UserError: the template raises an error, or the turns cannot be found: see
            `pieces`.
    """
    ids, mask = [], []
    roles = [role for role, _ in messages]
    first = roles.index('assistant') if 'assistant' in roles else len(roles)
    for piece in pieces(tokenizer, template, messages, first):
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
    """The rendering of a conversation, cut where training begins and ends.

    A turn of the assistant is trained on with the control token that ends it. The turns
    are what the template has in `{% generation %}` blocks; where it has none, each turn
    is what its rendering adds to the rendering of the messages before it.

    Args:
        tokenizer: with the control tokens that the template writes.
        template: the model's.
        messages: the conversation.
        first: how many messages are the prompt; its own turns are not trained on.

    Returns:
        The prompt, which is the whole of what the model is to answer to, then turns and
        what is between them, then what follows the last turn, which may be empty.

    Raises:
        UserError: the template raises an error, it renders a message in another way
            when others follow, or no control token ends a turn.
    """
    safe, hidden = _protected(messages, tokenizer.controls)
    if first == len(messages):
        parts = [(template.render(safe), False)]
    elif OPEN in (marked := template.marked(safe)):
        parts = _by_blocks(template, safe, first, marked)
    else:
        parts = _by_prefixes(template, safe, first, tokenizer.controls)
    encoder = _Encoder(tokenizer, hidden)
    return [encoder.piece(text, trained) for text, trained in parts]


def end_of_turn(tokenizer: Tokenizer, template: Template) -> int:
    """The id of the control token that ends a turn of the assistant.

    Raises:
        UserError: there is none, or the template raises an error.
    """
    found = pieces(tokenizer, template, [('user', 'a'), ('assistant', 'b')], 1)
    turn = next(piece for piece in found if piece.trained)
    if turn.ids and turn.ids[-1] in {x.id for x in tokenizer.controls.values()}:
        return turn.ids[-1]
    raise _endless(template)


def _by_blocks(template, messages, first, marked):
    head = template.render(messages[:first], add_generation_prompt=True)
    parts = [
        (piece, inside)
        for outside in marked.split(OPEN)
        for piece, inside in _inside(outside)
    ]
    if not ''.join(piece for piece, _ in parts).startswith(head):
        raise _unlike(template, first)
    return [(head, False), *_after(parts, len(head))]


def _inside(part):
    """What `OPEN` begins, and what follows `CLOSE`; the start has neither."""
    block, close, rest = part.partition(CLOSE)
    return [(block, True), (rest, False)] if close else [(part, False)]


def _after(parts, cut):
    """The parts without the first `cut` characters."""
    for text, trained in parts:
        if text[cut:]:
            yield text[cut:], trained
        cut = max(0, cut - len(text))


def _by_prefixes(template, messages, first, controls):
    parts, text = [], ''
    for at in range(first, len(messages)):
        role, content = messages[at]
        if role != 'assistant':
            continue
        head = template.render(messages[:at], add_generation_prompt=True)
        whole = template.render(messages[: at + 1])
        if not head.startswith(text) or not whole.startswith(head):
            raise _unlike(template, at)
        turn = whole[len(head) :]
        turn = turn[: _end(template, turn, content.strip(), controls)]
        parts += [(head[len(text) :], False), (turn, True)]
        text = head + turn
    whole = template.render(messages)
    if not whole.startswith(text):
        raise _unlike(template, len(messages) - 1)
    return [*parts, (whole[len(text) :], False)]


def _end(template, turn, content, controls):
    """Where the first control token after the content of a turn ends."""
    at = turn.rfind(content) if content else 0
    match = _pattern(tuple(controls)).search(turn, max(at, 0) + len(content))
    if at < 0:  # the template writes the content in another way
        matches = [*_pattern(tuple(controls)).finditer(turn)]
        match = matches[0] if len(matches) == 1 else None
    if match is None:
        raise _endless(template)
    return match.end()


def _unlike(template, at):
    return template.error(
        f'it renders what is before message {at + 1} in another way when that message '
        'follows, so the turns cannot be found; give one row for each turn of the '
        'assistant, or put {% generation %} around them in the template'
    )


def _endless(template):
    return template.error(
        'no special token of the tokenizer ends a turn of the assistant, so a model '
        'cannot learn to stop; write {{ eos_token }} after its content'
    )


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


@functools.lru_cache(maxsize=16)
def _pattern(texts: tuple[str, ...]) -> re.Pattern:
    """Matches a control token, the longest first."""
    longest = sorted(texts, key=len, reverse=True)
    return re.compile('|'.join(map(re.escape, longest)) or r'(?!)')


class _Encoder:
    """Encodes the parts of one text in their order."""

    def __init__(self, tokenizer: Tokenizer, hidden: Mapping[str, str]):
        self._tokenizer, self._hidden = tokenizer, hidden
        self._controls = tokenizer.controls
        self._pattern = _pattern(tuple(self._controls))
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
                self._start = getattr(self._tokenizer, 'space_everywhere', False)
                self._last, at = control, match.end()
        return Piece(ids, ''.join(ordinary), trained, ordinary[0])

    def _plain(self, text):
        if not text:
            return []
        start, self._start, self._last = self._start, False, None
        return self._tokenizer.encode(text, start)

    def _stripped(self, part, following):
        """Some control tokens take the white space beside them."""
        if self._last and self._last.rstrip:
            part = part.lstrip()
        return part.rstrip() if following and following.lstrip else part

    def _restored(self, text):
        for letter, hidden in self._hidden.items():
            text = text.replace(letter, hidden)
        return text
