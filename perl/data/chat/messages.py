"""Messages as a text that reward functions, judges and reports can read."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from perl.data.chat.template import Messages
from perl.data.records import (
    RECORDS,
    Comparison,
    Dataset,
    Demonstration,
    Rating,
    Record,
)

ROLES = ('system', 'user', 'assistant', 'tool')
_TURN = re.compile(r'\n\n(Human|Assistant):')
_ROLE_OF = {'Human': 'user', 'Assistant': 'assistant'}


class Chat(str):
    """Messages, which are text too: the content of a single message, or all contents
    with their roles, `user: …`, blank lines between them.

    Records hold it as a prompt, or as a response of several messages, so that all code
    that wants a text has one; `encode` renders the messages with the chat template.

    Attributes:
        messages: (role, content) pairs.
    """

    messages: tuple[tuple[str, str], ...]

    def __new__(cls, messages: Messages) -> 'Chat':
        if len(messages) == 1:
            text = messages[0][1]
        else:
            text = '\n\n'.join(f'{role}: {content}' for role, content in messages)
        made = super().__new__(cls, text)
        made.messages = tuple((role, content) for role, content in messages)
        return made

    def __repr__(self) -> str:  # fingerprints of records are made of it
        return f'Chat({self.messages!r})'

    def __getnewargs__(self) -> tuple[Any, ...]:  # for copies
        return (self.messages,)


def from_dialog(text: str) -> tuple[tuple[str, str], ...]:
    r"""The turns of a dialog of Anthropic HH, `\n\nHuman: …\n\nAssistant: …`.

    A cue without words after it is not a turn; neighbouring turns of one speaker are
    joined. Any other text is one turn of a user, unchanged.
    """
    before, *parts = _TURN.split(text)
    turns: list[tuple[str, str]] = []
    for speaker, words in zip(parts[::2], parts[1::2], strict=True):
        role, words = _ROLE_OF[speaker], words.strip()
        if words and turns and turns[-1][0] == role:
            turns[-1] = role, f'{turns[-1][1]}\n\n{words}'
        elif words:
            turns.append((role, words))
    is_dialog = not before.strip() and turns and turns[0][0] == 'user'
    if not is_dialog or turns[-1][0] == 'assistant':
        return (('user', text),)
    return tuple(turns)


def wrap(dataset: Dataset) -> Dataset:
    """The dataset with its string prompts as messages: dialogs of HH as their turns,
    every other prompt as one turn of a user. White space around a response goes, since
    the template puts its own; documents to pre-train on stay as they are."""
    changed: dict[str, Any] = {
        kind: {
            split: [_wrapped(record) for record in records]
            for split, records in dataset.of_kind(kind).items()
        }
        for kind in RECORDS
        if kind != 'text'
    }
    groups = {as_messages(x): group for x, group in dataset.prompt_groups.items()}
    return dataclasses.replace(dataset, prompt_groups=groups, **changed)


def as_trained(dataset: Dataset, prompts: Sequence[str]) -> list[str]:
    """Prompts that a person types as the models of a run know them: as messages where
    the prompts of its dataset are messages, else as they are."""
    return [*map(as_messages, prompts)] if has_messages(dataset) else [*prompts]


def has_messages(dataset: Dataset) -> bool:
    """Whether a prompt of the dataset is of messages."""
    kinds = (dataset.demonstrations, dataset.comparisons, dataset.ratings)
    prompts = [x for rows in dataset.prompts.values() for x in rows]
    prompts += [x.prompt for kind in kinds for rows in kind.values() for x in rows]
    return any(isinstance(prompt, Chat) for prompt in prompts)


def as_messages(prompt: str) -> Chat:
    """A prompt as messages: a plain text is one turn of the user, or the turns of a
    dialog of Anthropic HH; messages stay as they are."""
    return prompt if isinstance(prompt, Chat) else Chat(from_dialog(prompt))


def _response(text: str) -> str:
    return text if isinstance(text, Chat) else text.strip()


def _wrapped(record: Record | str) -> Record | str:
    match record:
        case str():
            return as_messages(record)
        case Comparison():
            fields = {'completions': tuple(map(_response, record.completions))}
        case Demonstration() | Rating():
            fields = {'response': _response(record.response)}
    return dataclasses.replace(record, prompt=as_messages(record.prompt), **fields)
