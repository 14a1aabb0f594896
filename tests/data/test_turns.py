"""How the turns of Taskmaster read as text, and TicketTalk's marks as turns."""

import collections

import pytest

from perl.data import tickettalk, turns
from perl.errors import UserError

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


def test_tickettalk_row():
    row = (
        '<PR>find<PRAN>movie<PRAV>Emma<PRAV>1917<C><U>hi<A>Which?<PN>find<PAN>day'
        '<PAV>today\t"[PN]book[PAN]movie[PAV]""Emma"""\tdlg-1'
    )
    [(context, target)] = tickettalk.read([row])
    assert context == [
        {'role': 'user', 'text': 'hi'},
        {'role': 'agent', 'text': 'Which?'},
        {'role': 'agent', 'api': {'find': {'day': 'today'}}},
        {'role': 'api', 'response': {'find': {'movie': ['Emma', '1917']}}},
    ]
    assert target == {'role': 'agent', 'api': {'book': {'movie': '"Emma"'}}}


@pytest.mark.parametrize(
    ('row', 'message'),
    [('<U>hi\t[A]yes', 'row 1 has 2 columns'), ('<U>hi\tyes\td', 'neither')],
)
def test_bad_tickettalk_row(row, message):
    with pytest.raises(UserError, match=message):
        list(tickettalk.read([row]))
