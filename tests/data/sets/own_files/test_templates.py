"""Templates: names in braces, and braces that are text."""

import pytest

from perl.data.sets.own_files import templates


@pytest.mark.parametrize(
    ('template', 'names', 'filled'),
    [
        ('Q: {prompt}\nA:', ['prompt'], 'Q: <prompt>\nA:'),
        (
            '{system}\n{prompt}{system}',
            ['system', 'prompt'],
            '<system>\n<prompt><system>',
        ),
        ('{"q": "{prompt}"}', ['prompt'], '{"q": "<prompt>"}'),
        ('\\boxed{{answer}} {prompt}', ['prompt'], '\\boxed{answer} <prompt>'),
        ('{} { x } {prompt}', ['prompt'], '{} { x } <prompt>'),
        ('nothing', [], 'nothing'),
    ],
)
def test_names_and_text(template, names, filled):
    assert templates.names(template) == names
    assert templates.fill(template, lambda name: f'<{name}>') == filled


def test_braces_of_a_value_stay():
    assert templates.fill('{a} {b}', {'a': '{b}', 'b': '{{a}}'}.get) == '{b} {{a}}'
