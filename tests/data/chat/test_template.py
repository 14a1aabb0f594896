"""Templates: what they may use, what is refused, where they come from."""

import json

import pytest

from perl.data import chat
from perl.data.chat import Template
from perl.system.errors import UserError

HELLO = [('user', '<é>')]


@pytest.mark.parametrize(
    ('source', 'text'),
    [
        ('{{ messages[0].content | tojson }}', '"<é>"'),
        ('{% for m in messages %}\n  {% break %}\n{% endfor %}a', 'a'),
        ('{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}', '<s></s>False'),
        ('{% generation %}{{ messages[0]["role"] }}{% endgeneration %}', 'user'),
        ('{% if tools is none and documents is none %}none{% endif %}', 'none'),
        ('{{ strftime_now("%Y") | length }}', '4'),
    ],
)
def test_what_a_template_may_use(source, text):
    assert Template(source, '<s>', '</s>').render(HELLO) == text


@pytest.mark.parametrize(
    ('source', 'what'),
    [
        ('{{ raise_exception("no system") }}', 'it raises an error .*: no system$'),
        ('{{ messages.append(1) }}', 'it raises an error'),  # nothing may be changed
        ('{{ "".__class__.__mro__ }}', 'it raises an error'),  # nor got out of
        ('a\n{% if %}', 'line 2 is not jinja2'),
    ],
)
def test_errors_name_the_template(source, what):
    with pytest.raises(UserError, match=f'^chat template x.jinja: {what}') as caught:
        Template(source, name='x.jinja').render(HELLO)
    assert '\n' not in str(caught.value)


def files(template, **others):
    config = {'bos_token': '<s>', 'eos_token': {'content': '</s>'}}
    config['chat_template'] = template
    return {'tokenizer_config.json': json.dumps(config).encode(), **others}


def test_where_a_template_comes_from():
    named = [
        {'name': 'tool_use', 'template': 'b'},
        {'name': 'default', 'template': 'a'},
    ]
    for template in ('a', named):
        found = chat.of_files(files(template))
        assert (found.source, found.bos, found.eos) == ('a', '<s>', '</s>')
    own = files('a', **{'chat_template.jinja': b'c'})
    assert chat.of_files(own).source == 'c'
    assert chat.of_files({}) is chat.of_files(files(None)) is None
    with pytest.raises(UserError, match='x: it has the chat templates tool_use and'):
        chat.of_files(files(named[:1]), 'x')
    with pytest.raises(UserError, match=r'x, tokenizer_config\.json: not a JSON'):
        chat.of_files({'tokenizer_config.json': b'{'}, 'x')
