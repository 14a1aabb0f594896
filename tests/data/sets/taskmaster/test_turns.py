"""How the turns of Taskmaster read as text, and TicketTalk's marks as turns."""

import collections

import pytest

from perl.data.sets.taskmaster import tickettalk, turns
from perl.system.errors import UserError

CONTEXT = [
    {'role': 'agent', 'text': 'Hello!'},
    {'role': 'user', 'text': 'an  espresso\nplease'},
    {
        'role': 'agent',
        'api': {'get_menu_items': {'query': 'espresso', 'n': ['a', 'b']}},
    },
    {
        'role': 'api',
        'response': {
            'get_menu_items': {
                'menu_items': [{'id': 1, 'name': 'Espresso'}, {'id': 2}],
                'order_id': '9caad54304794fb894ac5a4ec598b4ef',
            }
        },
    },
]


def test_serialisation():
    counts = collections.Counter()
    assert turns.prompt(CONTEXT, counts) == (
        'agent: Hello!\n'
        'user: an espresso please\n'
        'agent: [get_menu_items query=espresso n=(a, b)]\n'
        'api: items=(id=1 name=Espresso; id=2) order_id=9caad5\n'
        'agent:'
    )
    assert dict(counts) == {'ids_shortened': 1}
    assert turns.first_user(CONTEXT) == 'an  espresso\nplease'
    assert turns.first_user([]) == ''
    assert turns.prompt([], counts) == 'agent:'
    assert turns.response({'role': 'agent', 'text': 'Sure?'}, counts) == ' Sure?'
    call = {'role': 'agent', 'api': {'show_menu': {}}}
    assert turns.response(call, counts) == ' [show_menu]'


def test_long_api_responses_are_cut_and_counted():
    counts = collections.Counter()
    line = turns.line(CONTEXT[3], counts, api_chars=10)
    assert line == 'api: items=(id=…'
    assert counts['api_responses_cut'] == 1
    assert counts['api_characters_cut'] > 50


def read(folder, *rows):
    """The rows as those of a file."""
    file = folder / 'train.tsv'
    file.write_text('\n'.join(rows) + '\n')
    return list(tickettalk.read(file, 'https://example.org'))


def test_tickettalk_row(tmp_path):
    row = (
        '<PR>find<PRAN>movie<PRAV>Emma<PRAV>1917<C><U>hi<A>Which?<PN>find<PAN>day'
        '<PAV>today\t"[PN]book[PAN]movie[PAV]""Emma"""\tdlg-1'
    )
    [(context, target)] = read(tmp_path, row)
    assert context == [
        {'role': 'user', 'text': 'hi'},
        {'role': 'agent', 'text': 'Which?'},
        {'role': 'agent', 'api': {'find': {'day': 'today'}}},
        {'role': 'api', 'response': {'find': {'movie': ['Emma', '1917']}}},
    ]
    assert target == {'role': 'agent', 'api': {'book': {'movie': '"Emma"'}}}


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        (
            '<U>hi\t[A]yes',
            "line 2: 'columns' are 2 instead of 3; fix or delete the row",
        ),
        ('<U>hi\tyes\td', "line 2: 'target' starts with neither"),
        ('<U>hi\t[A] \td', "line 2: 'target' has no text"),
        ('<U>hi\t"[A]yes\td', 'line 2: unexpected end of data'),
    ],
)
def test_bad_tickettalk_row(tmp_path, row, message):
    with pytest.raises(UserError, match=f'train.tsv, {message}'):
        read(tmp_path, '<U>hi\t[A]yes\td', row)


def test_a_long_tickettalk_row(tmp_path):
    [(context, _)] = read(tmp_path, f'<U>{"a" * 200_000}\t[A]yes\td')
    assert len(context[0]['text']) == 200_000


@pytest.mark.parametrize(
    ('turn', 'said'),
    [
        ('hi', "'hi', which is not a turn of user, agent, api"),
        ({'text': 'hi'}, '{.*}, which is not a turn of user, agent, api'),
        (
            {'role': 'system', 'text': 'hi'},
            '{.*}, which is not a turn of user, agent, api',
        ),
        ({'role': 'user'}, 'a turn of user without text'),
        ({'role': 'agent', 'response': {}}, 'a turn of agent without text or api'),
        ({'role': 'user', 'text': None}, 'a turn of user whose text is None'),
        ({'role': 'api', 'response': 'x'}, "a turn of api whose response is 'x'"),
    ],
)
def test_what_is_no_turn(turn, said):
    with pytest.raises(ValueError, match=said):
        turns.check(turn)


def test_turns_are_turns():
    for turn in CONTEXT:
        turns.check(turn)
