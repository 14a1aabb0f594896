"""Rows of texts and of messages, as a reward model is asked with them."""

import pathlib

import pytest

from perl.data.chat import Chat
from perl.data.files.rows import Row
from perl.data.sets.own_files.answers import PAIR, texts
from perl.system.errors import UserError


def turn(role, content):
    return [{'role': role, 'content': content}]


def row(**values):
    return Row(pathlib.Path('a.jsonl'), 'line 1', values)


def test_rows_of_text():
    assert texts(row(prompt='a', response=''), ('prompt', 'response')) == ['a', '']


def test_rows_of_messages():
    asked = [*turn('system', 'Be kind.'), *turn('user', 'Hi')]
    pair = row(
        prompt=asked,
        chosen=turn('assistant', 'Hello.'),
        rejected=turn('assistant', 'No'),
    )
    prompt, *answers = texts(pair, PAIR)
    assert isinstance(prompt, Chat) and answers == ['Hello.', 'No']
    assert prompt.messages == (('system', 'Be kind.'), ('user', 'Hi'))
    one = row(prompt=turn('user', 'Hi'), response=turn('assistant', 'Hello.'))
    prompt, answer = texts(one, ('prompt', 'response'))
    assert prompt.messages == (('user', 'Hi'),) and answer == 'Hello.'


def test_what_is_neither():
    with pytest.raises(UserError, match=r"line 1: 'prompt' is 3, not text"):
        texts(row(prompt=3, response='a'), ('prompt', 'response'))
