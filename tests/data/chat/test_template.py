"""Templates: what they may use, what is refused, where they come from."""

import json

import pytest

from perl.data import chat
from perl.data.chat import Template, sandbox
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


MANY = 'for i in range(9999)'


@pytest.mark.parametrize(
    ('source', 'what'),
    [
        (
            f'{{% {MANY} %}}{{% {MANY} %}}{{% endfor %}}{{% endfor %}}',
            'more than 1,000 st',
        ),
        (
            '{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}'
            '{% endmacro %}{{ f(99) }}',
            'more than 1,000 steps',
        ),
        ('{{ 10 ** (10 ** 10) }}', 'too large'),
        ('{{ messages * 10 ** 9 }}', 'too large'),
        ('{{ 10 ** 9 * "ab" }}', 'too large'),
    ],
)
def test_a_template_that_runs_for_ever_is_ended(source, what, monkeypatch):
    monkeypatch.setattr(sandbox, 'STEPS', 1000)
    with pytest.raises(UserError, match=f'^chat template: it raises an error .*{what}'):
        Template(source).render(HELLO)


def test_loops_and_products_that_end(monkeypatch):
    """All that a loop knows of itself is still known; each rendering may take as many
    steps as the last one."""
    monkeypatch.setattr(sandbox, 'STEPS', 12)
    source = (
        '{% for x in "abc" %}{{ loop.index }}/{{ loop.length }}{{ x }}'
        '{{ loop.nextitem }}'
        '{% if loop.last %}.{% endif %}{% endfor %}{{ 2 ** 3 * 2 }}{{ "-" * 3 }}'
        '{% for k, v in {"a": 1}.items() if v %}{{ k }}{% else %}none{% endfor %}'
        '{% for x in nothing %}x{% else %}none{% endfor %}'
        '{% for x in [1, [2, 3]] recursive %}'
        '{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}'
    )
    made = Template(source)
    for _ in range(3):
        assert made.render(HELLO) == '1/3ab2/3bc3/3c.16---anone1(23)'


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
