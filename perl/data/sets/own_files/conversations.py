"""Records from rows of messages, in the forms that TRL has.

A message is `{"role": …, "content": …}`. A conversation is a list of them:

    messages                   a conversation; the turns of the assistant are learned
    prompt, completion         two parts of one; `response` is the same as `completion`
    prompt, chosen, rejected   a prompt and two endings
    chosen, rejected           two conversations; the prompt is what they have in common

A prompt or an ending may be a string too: the turn of a user, of the assistant. Two
dialogs of Anthropic HH need no prompt either; they stay texts. The templates of a
`Source` are for rows of strings alone; beside messages they are an error.
"""

import itertools
from collections.abc import Mapping, Sequence

from perl.data.chat import Chat
from perl.data.chat.messages import ROLES
from perl.data.files.excerpts import shown
from perl.data.files.rows import Row
from perl.data.records import Comparison, Demonstration, Rating, Record

Turns = tuple[tuple[str, str], ...]
_PARTS = ('messages', 'prompt', 'completion', 'response', 'chosen', 'rejected')
TOOLS = 'tools'  # a column of TRL that changes what its templates write
_CUE = '\n\nAssistant:'  # of a dialog of Anthropic HH


def has_messages(row: Row, columns: Mapping[str, str]) -> bool:
    """Whether a row is of messages; `columns` are by field."""
    if 'messages' in columns:
        return True
    values = (row.values[columns[part]] for part in _PARTS if part in columns)
    lists = (value for value in values if isinstance(value, list))
    return any(isinstance(part, dict) for value in lists for part in value)


def record(row: Row, kind: str, columns: Mapping[str, str]) -> Record | Chat:
    """The record of a row of messages.

    Args:
        row: of a file.
        kind: 'demonstrations', 'comparisons', 'ratings' or 'prompts'.
        columns: by field.

    Raises:
        UserError: a message has no role that is known or no content, the row has tools,
            a prompt ends with the assistant, or an ending does not begin and end with
            it.
    """
    if row.values.get(TOOLS):
        raise row.error(
            TOOLS,
            'is not read, and the model would not be told of its tools; remove it',
        )
    if kind == 'text':
        column = columns['prompt']
        raise row.error(column, 'is of messages; documents to pre-train on are texts')
    if kind == 'comparisons':
        return _comparison(row, columns)
    if kind == 'prompts':
        column = columns.get('prompt') or columns['messages']
        return _prompt(row, column, _turns(row, column, 'user'))
    prompt, response = _parts(row, columns, last=kind == 'ratings')
    if kind == 'ratings':
        return Rating(prompt, response, row.share(columns['label']))
    return Demonstration(prompt, response)


def has_own_prompt(value: object) -> bool:
    """Whether a value holds its prompt too: messages, or a dialog of Anthropic HH."""
    return isinstance(value, list) or (isinstance(value, str) and _CUE in value)


def cut(row: Row, columns: Mapping[str, str]) -> tuple[str, tuple[str, str]]:
    """The prompt that two dialogs of HH have in common, and the answer of each.

    Raises:
        UserError: they differ before the last answer, or an answer is empty.
    """
    parts = {
        name: row.filled(columns[name]).rpartition(_CUE)
        for name in ('chosen', 'rejected')
    }
    prompts = {before + cue for before, cue, _ in parts.values()}
    for name, (_, cue, answer) in parts.items():
        if len(prompts) > 1 or not cue or not answer.strip():
            raise row.error(
                columns[name],
                'is not the same dialog as the other up to an answer of the assistant',
            )
    return prompts.pop(), (parts['chosen'][2], parts['rejected'][2])


def _parts(row: Row, columns: Mapping[str, str], last: bool) -> tuple[Chat, str]:
    """Prompt and response of a conversation: before and after its first answer, or
    before and after the `last` one."""
    if 'messages' not in columns:
        answer = columns.get('completion') or columns['response']
        prompt = _prompt(row, columns['prompt'], _turns(row, columns['prompt'], 'user'))
        return prompt, _answer(row, answer, _turns(row, answer, 'assistant'))
    column = columns['messages']
    turns = _turns(row, column, 'user')
    roles = [role for role, _ in turns]
    if 'assistant' not in roles:
        raise row.error(column, 'has no turn of the assistant; add one or drop the row')
    at = len(turns) - 1 if last else roles.index('assistant')
    return _prompt(row, column, turns[:at]), _answer(row, column, turns[at:])


def _comparison(row: Row, columns: Mapping[str, str]) -> Comparison:
    if 'completions' in columns:
        prompt = _prompt(row, columns['prompt'], _turns(row, columns['prompt'], 'user'))
        return Comparison(prompt, tuple(row.filled_list(columns['completions'])))
    names = [columns['chosen'], columns['rejected']]
    endings = [_turns(row, name, 'assistant') for name in names]
    begins = [turns[0][0] == 'assistant' for turns in endings]
    if 'prompt' in columns and any(begins):
        prompt = _turns(row, columns['prompt'], 'user')
    elif 'prompt' in columns and isinstance(row.values[columns['prompt']], list):
        prompt = _turns(row, columns['prompt'], 'user')
        for name, turns in zip(names, endings, strict=True):
            if turns[: len(prompt)] != prompt:
                raise row.error(name, 'neither continues its prompt nor repeats it')
        endings = [turns[len(prompt) :] for turns in endings]
    else:
        prompt = endings[0][: _common(*endings)]
        if endings[0] == endings[1] and prompt[-1][0] == 'assistant':
            prompt = prompt[:-1]  # equal answers, which are counted as equal texts are
        endings = [turns[len(prompt) :] for turns in endings]
    made = _prompt(row, columns.get('prompt', names[0]), prompt)
    answers = (_answer(row, *part) for part in zip(names, endings, strict=True))
    return Comparison(made, tuple(answers))


def _prompt(row: Row, column: str, turns: Turns) -> Chat:
    if not turns:
        raise row.error(column, 'has no message to answer before the assistant')
    if turns[-1][0] == 'assistant':
        raise row.error(
            column, 'has a prompt that ends with the assistant; end it with the user'
        )
    return Chat(turns)


def _answer(row: Row, column: str, turns: Turns) -> str:
    """The content of one turn, or turns that begin and end with the assistant."""
    if not turns:
        raise row.error(column, 'has no turn of the assistant after the prompt')
    for (role, _), place in ((turns[0], 'begin'), (turns[-1], 'end')):
        if role != 'assistant':
            raise row.error(
                column,
                f'has an answer that does not {place} with the assistant but with a '
                f'message of the {role}',
            )
    return turns[0][1] if len(turns) == 1 else Chat(turns)


def _common(a: Sequence, b: Sequence) -> int:
    """How many of the first elements are equal."""
    equal = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(a, b, strict=False)
    )
    return sum(1 for _ in equal)


def _turns(row: Row, column: str, role: str) -> Turns:
    """The messages of a column; a string is the one turn of `role`."""
    value = row.values[column]
    if isinstance(value, str):
        return ((role, row.filled(column)),)
    if not isinstance(value, list) or not value:
        raise row.error(column, f'is {shown(value)}, not a list of messages')
    return tuple(_message(row, column, n, x) for n, x in enumerate(value, 1))


def _message(row: Row, column: str, number: int, value: object) -> tuple[str, str]:
    where = f'message {number}'
    if not isinstance(value, dict):
        raise row.error(column, f'{where} is {shown(value)}, not a role with a content')
    role, content = value.get('role'), value.get('content')
    if role not in ROLES:
        raise row.error(
            column,
            f'{where} has the role {role!r:.40}; it is one of {", ".join(ROLES)}',
        )
    if not isinstance(content, str):
        what = 'no content' if content is None else f'a content of {shown(content)}'
        raise row.error(column, f'{where} has {what}; give it a text')
    others = [name for name, x in value.items() if x is not None]
    others = [name for name in others if name not in ('role', 'content')]
    if others:
        raise row.error(
            column, f'{where} has {others[0]!r:.40}, which is not read; leave it out'
        )
    if role == 'assistant' and not content.strip():
        raise row.error(column, f'{where}, of the assistant, is empty; fill it in')
    return role, row.string(content, column)
