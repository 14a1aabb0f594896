"""Where turns begin and end, and templates of which nobody can tell."""

import pytest

from perl.data.chat import Template
from perl.data.chat.turns import split
from perl.system.errors import UserError

TURNS = [('user', 'q'), ('assistant', 'a'), ('user', 'r'), ('assistant', 'b')]
ALL = '{% for m in messages %}'
END = '{% endfor %}{% if add_generation_prompt %}A:{% endif %}'
CONTROLS = ('</s>', '<end>')


def parts(source, first=1, turns=TURNS):
    return split(Template(source), turns, first, CONTROLS)


TURN = '{{ m.role[0] | upper }}:{{ m.content }}</s>'


def test_turns_by_prefixes():
    assert parts(f'{ALL}{TURN}{END}') == [
        ('U:q</s>A:', False),
        ('a</s>', True),
        ('U:r</s>A:', False),
        ('b</s>', True),
        ('', False),
    ]
    assert parts(f'{ALL}{TURN}{END}', first=3)[0] == ('U:q</s>A:a</s>U:r</s>A:', False)


def test_what_follows_the_last_turn_alone_is_not_learned():
    source = f'{ALL}{TURN}{END}{{% if not add_generation_prompt %}}<end>{{% endif %}}'
    assert parts(source)[-2:] == [('b</s>', True), ('<end>', False)]
    assert parts(source)[1] == ('a</s>', True)


def test_blocks_may_change_with_what_follows():
    said = (
        "{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }}"
        '{% if loop.last %}!{% endif %}</s>{% endgeneration %}'
        '{% else %}U:{{ m.content }}{% endif %}'
    )
    assert parts(f'{ALL}{said}{END}') == [
        ('U:qA:', False),
        ('a</s>', True),
        ('U:rA:', False),
        ('b!</s>', True),
    ]


@pytest.mark.parametrize(
    ('turn', 'what'),
    [
        # the first answer is shortened when another question follows
        (
            '{% if loop.last %}{{ m.content }}{% endif %}</s>',
            'before message 2 in anoth',
        ),
        ('{{ m.role[0] | upper }}:{{ m.content }}\n', 'no special token'),
    ],
)
def test_turns_that_cannot_be_found(turn, what):
    with pytest.raises(UserError, match=f'^chat template: .*{what}'):
        parts(f'{ALL}{turn}{END}')


def test_an_answer_that_the_template_rewrites_ends_with_its_one_control_token():
    source = f'{ALL}{TURN}{END}'.replace('m.content', 'm.content | upper')
    assert parts(source)[1] == ('A</s>', True)


@pytest.mark.parametrize('content', ['s', '<', '/s>', 'U:', 'A', '<end'])
def test_a_content_is_not_looked_for_inside_of_a_control_token(content):
    turns = [('user', 'q'), ('assistant', content)]
    assert parts(f'{ALL}{TURN}{END}', turns=turns)[1] == (f'{content}</s>', True)
