"""The turns of the assistant in a rendering: where training begins and ends."""

import functools
import re

from perl.data.chat.template import CLOSE, OPEN, Messages, Template
from perl.system.errors import UserError


def split(
    template: Template, messages: Messages, first: int, controls: tuple[str, ...]
) -> list[tuple[str, bool]]:
    """The rendering of messages in parts, and whether the model learns to say each.

    A turn of the assistant is learned with the control token that ends it. The turns
    are what the template has in `{% generation %}` blocks; where it has none, each turn
    is what its rendering adds to the rendering of the messages before it.

    Args:
        template: the model's.
        messages: the conversation.
        first: how many messages are the prompt; its own turns are not learned.
        controls: the texts of the control tokens.

    Returns:
        The prompt, which is the whole of what the model is to answer to, then turns and
        what is between them, then what follows the last turn, which may be empty.

    Raises:
        UserError: the template raises an error, it renders a message in another way
            when others follow, or no control token ends a turn.
    """
    if first == len(messages):
        return [(template.render(messages), False)]
    marked = template.marked(messages)
    if OPEN in marked:
        return _by_blocks(template, messages, first, marked)
    return _by_prefixes(template, messages, first, matcher(controls))


def blocks(template: Template, messages: Messages) -> list[tuple[str, bool]]:
    """The rendering of messages in parts, and whether each is a `{% generation %}`
    block; nothing where it has no such block.

    Raises:
        UserError: the template raises an error.
    """
    marked = template.marked(messages)
    return _blocks(marked) if OPEN in marked else []


@functools.lru_cache(maxsize=16)
def matcher(texts: tuple[str, ...]) -> re.Pattern:
    """Matches the text of a control token, the longest first."""
    longest = sorted(texts, key=len, reverse=True)
    return re.compile('|'.join(map(re.escape, longest)) or r'(?!)')


def endless(template: Template) -> UserError:
    """The error of a template that ends a turn with no control token."""
    return template.error(
        'no special token of the tokenizer ends a turn of the assistant, so a model '
        'cannot learn to stop; write {{ eos_token }} after its content'
    )


def _by_blocks(template, messages, first, marked):
    head = template.render(messages[:first], add_generation_prompt=True)
    parts = _blocks(marked)
    if not ''.join(text for text, _ in parts).startswith(head):
        raise _unlike(template, first)
    rest = [*_after(parts, len(head))]
    if not any(inside for _, inside in rest):
        raise template.error('it has no {% generation %} block around the last turns')
    return [(head, False), *rest]


def _blocks(marked):
    return [
        (text, inside)
        for outside in marked.split(OPEN)
        for text, inside in _inside(outside)
    ]


def _inside(part):
    """What `OPEN` begins, and what follows `CLOSE`; the start has neither."""
    block, close, rest = part.partition(CLOSE)
    return [(block, True), (rest, False)] if close else [(part, False)]


def _after(parts, cut):
    """The parts without the first `cut` characters."""
    for text, inside in parts:
        if text[cut:]:
            yield text[cut:], inside
        cut = max(0, cut - len(text))


def _by_prefixes(template, messages, first, pattern):
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
        turn = turn[: _end(template, turn, content.strip(), pattern)]
        parts += [(head[len(text) :], False), (turn, True)]
        text = head + turn
    whole = template.render(messages)
    if not whole.startswith(text):
        raise _unlike(template, len(messages) - 1)
    return [*parts, (whole[len(text) :], False)]


def _end(template, turn, content, pattern):
    """Where the first control token after the content of a turn ends.

    The content, in which no control token is left, lies between two of the template's:
    a content such as `end` is not looked for inside of `<|im_end|>`.
    """
    matches = [*pattern.finditer(turn)]
    starts = [0, *(match.end() for match in matches)]
    between = [
        (turn[start : match.start()], match.end())
        for start, match in zip(starts, matches, strict=False)
    ]
    ends = [end for text, end in between if content in text]
    if ends:
        return ends[-1] if content else ends[0]
    if len(matches) == 1:  # the template writes the content in another way
        return matches[0].end()
    raise endless(template)


def _unlike(template, at):
    return template.error(
        f'it renders what is before message {at + 1} in another way when that message '
        'follows, so the turns cannot be found; give one row for each turn of the '
        'assistant, or put {% generation %} around them in the template'
    )
