"""Rows of messages: the forms of TRL, and what is wrong with a row."""

import json

import pytest

from perl.data import Comparison, Demonstration, Rating
from perl.data.chat import Chat
from perl.data.sets.own_files.reader import load
from perl.system.errors import UserError


def user(text):
    return {'role': 'user', 'content': text}


def assistant(text):
    return {'role': 'assistant', 'content': text}


Q, A, B = user('q'), assistant('a'), assistant('b')
ASKED = Chat([('user', 'q')])
LONG = (('system', 's'), ('user', 'q'))


def read(tmp_path, kind, row, **templates):
    file = tmp_path / 'rows.jsonl'
    file.write_text(json.dumps(row) + '\n')
    data = load(**{kind: {'path': {'train': file}, **templates}})
    [record] = getattr(data, kind)['train']
    return record


@pytest.mark.parametrize(
    ('kind', 'row', 'record'),
    [
        ('demonstrations', {'messages': [Q, A]}, Demonstration(ASKED, 'a')),
        (
            'demonstrations',
            {'prompt': [Q], 'completion': [A]},
            Demonstration(ASKED, 'a'),
        ),
        ('demonstrations', {'prompt': [Q], 'response': 'a'}, Demonstration(ASKED, 'a')),
        (
            'demonstrations',
            {'prompt': 'q', 'completion': [A]},
            Demonstration(ASKED, 'a'),
        ),
        ('ratings', {'messages': [Q, A], 'label': 1}, Rating(ASKED, 'a', 1)),
        ('prompts', {'messages': [Q]}, ASKED),
        ('prompts', {'prompt': [Q]}, ASKED),
        *(
            ('comparisons', row, Comparison(ASKED, ('a', 'b')))
            for row in (
                {'prompt': [Q], 'chosen': [A], 'rejected': [B]},
                {'prompt': 'q', 'chosen': [A], 'rejected': [B]},
                {'prompt': [Q], 'chosen': 'a', 'rejected': 'b'},
                {'chosen': [Q, A], 'rejected': [Q, B]},
                {'prompt': 'another', 'chosen': [Q, A], 'rejected': [Q, B]},
                {'prompt': [Q], 'chosen': [Q, A], 'rejected': [Q, B]},
                {'prompt': [Q], 'completions': ['a', 'b']},
            )
        ),
    ],
)
def test_forms(tmp_path, kind, row, record):
    found = read(tmp_path, kind, row)
    assert found == record
    prompt = found if kind == 'prompts' else found.prompt
    assert prompt.messages == ASKED.messages


def test_many_turns(tmp_path):
    system = {'role': 'system', 'content': 's', 'name': None}
    found = read(tmp_path, 'demonstrations', {'messages': [system, Q, A, Q, B]})
    assert found.prompt.messages == LONG
    turns = (('assistant', 'a'), ('user', 'q'), ('assistant', 'b'))
    assert found.response.messages == turns
    rated = read(tmp_path, 'ratings', {'messages': [system, Q, A, Q, B], 'label': 0})
    assert rated.prompt.messages == (*LONG, *turns[:2]) and rated.response == 'b'


def test_two_dialogs_of_hh(tmp_path):
    dialog = '\n\nHuman: q\n\nAssistant:'
    row = {'chosen': f'{dialog} a', 'rejected': f'{dialog} ab'}
    assert read(tmp_path, 'comparisons', row) == Comparison(dialog, (' a', ' ab'))
    with pytest.raises(UserError, match="line 1: 'chosen' is not the same dialog"):
        read(tmp_path, 'comparisons', row | {'rejected': f'{dialog} a{dialog} b'})


@pytest.mark.parametrize(
    ('kind', 'row', 'said'),
    [
        ('prompts', {'prompt': [Q, A]}, "'prompt' has a prompt that ends with the ass"),
        ('prompts', {'messages': []}, r"'messages' is \[\], not a list of messages"),
        ('prompts', {'messages': 5}, "'messages' is 5, not a list of messages"),
        ('prompts', {'messages': [Q, 'a']}, "'messages' message 2 is 'a', not a role"),
        ('prompts', {'messages': [{'role': 'bot'}]}, "1 has the role 'bot'; it is one"),
        ('prompts', {'messages': [{'role': 'user'}]}, 'message 1 has no content'),
        ('prompts', {'messages': [user(['a'])]}, r"1 has a content of \['a'\]"),
        ('prompts', {'messages': [Q | {'tool_calls': 1}]}, "1 has 'tool_calls', which"),
        ('prompts', {'messages': [user('\ud83d')]}, 'half of a surrogate pair'),
        ('demonstrations', {'messages': [Q]}, 'has no turn of the assistant; add one'),
        ('demonstrations', {'messages': [A]}, 'no message to answer before the assis'),
        ('demonstrations', {'messages': [Q, A, Q]}, 'does not end with the assistant'),
        (
            'demonstrations',
            {'messages': [Q, assistant(' ')]},
            'message 2, of the assis',
        ),
        (
            'demonstrations',
            {'prompt': [Q], 'completion': [Q, A]},
            'does not begin with',
        ),
        (
            'comparisons',
            {'chosen': [Q, A], 'rejected': [Q]},
            'no turn of the assistant',
        ),
        (
            'comparisons',
            {'chosen': [Q, A], 'rejected': [user('r'), A]},
            'no message to',
        ),
        (
            'comparisons',
            {'prompt': [Q], 'chosen': [user('r'), A], 'rejected': [Q, A]},
            "'chosen' neither continues its prompt nor repeats it",
        ),
    ],
)
def test_bad_rows(tmp_path, kind, row, said):
    with pytest.raises(UserError, match=f'rows.jsonl, line 1: .*{said}') as caught:
        read(tmp_path, kind, row)
    assert '\n' not in str(caught.value)


def test_equal_conversations_keep_their_last_turn(tmp_path):
    file = tmp_path / 'rows.jsonl'
    turns = [{'role': x, 'content': x[0]} for x in ('user', 'assistant')]
    file.write_text(json.dumps({'chosen': turns, 'rejected': turns}))
    made = load(comparisons=file, shares=(1, 0, 0))
    assert made.comparisons['train'][0].completions == ('a', 'a')
    assert made.counts['equal_completions'] == 1


@pytest.mark.parametrize(
    'templates', [{'prompt': 'Q: {prompt}'}, {'response': '{response} END'}]
)
def test_a_template_beside_messages_is_not_ignored(tmp_path, templates):
    (name,) = templates
    row = {'prompt': [Q], 'chosen': [A], 'rejected': [B]}
    with pytest.raises(
        UserError, match=rf'messages, and the template comparisons\.{name}'
    ):
        read(tmp_path, 'comparisons', row, **templates)
    spaced = {x: f' {{{x}}}' for x in templates}
    assert read(tmp_path, 'comparisons', row, **spaced) == Comparison(ASKED, ('a', 'b'))


def test_tools_are_not_ignored(tmp_path):
    row = {'messages': [Q, A], 'tools': None}
    assert read(tmp_path, 'demonstrations', row) == Demonstration(ASKED, 'a')
    row['tools'] = [{'type': 'function'}]
    with pytest.raises(UserError, match="line 1: 'tools' is not read"):
        read(tmp_path, 'demonstrations', row)
