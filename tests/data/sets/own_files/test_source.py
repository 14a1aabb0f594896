"""The settings of one kind of records: what they name, and what is refused."""

import pytest

from perl.data.sets.own_files.source import Source, from_settings
from perl.system.errors import UserError


@pytest.mark.parametrize(
    ('kind', 'settings', 'says'),
    [
        (
            'comparisons',
            {'columns': {'prompt': 'chosen'}},
            "comparisons.columns: prompt and chosen are both the column 'chosen'",
        ),
        (
            'demonstrations',
            {'columns': {'response': 'prompt'}},
            "prompt and response are both the column 'prompt'",
        ),
        (
            'comparisons',
            {'columns': {'prompt': 'margin'}},
            "prompt and margin are both the column 'margin'",
        ),
        (
            'comparisons',
            {'columns': {'completions': 'ranked', 'chosen': 'best'}},
            'chosen and completions cannot be combined; comparisons have prompt and',
        ),
        (
            *('prompts', {'prompt': 'Q: {promt}'}),
            r'prompts.prompt: the template lacks {prompt} \(is {promt} meant to be it',
        ),
        ('prompts', {'prompt': 'Q: {{prompt}}'}, 'the template lacks {prompt}$'),
        ('prompts', {'prompt': '\udcff{prompt}'}, 'prompts.prompt: .* is not UTF-8'),
        ('prompts', {'path': ['a', 3]}, 'prompts.path: 3 is not a path'),
        ('prompts', {'path': {'train': 3}}, 'prompts.path: 3 is not a path'),
        ('text', {'columns': {'chosen': 'p'}}, "text have no field 'chosen'"),
    ],
)
def test_settings_that_cannot_be_meant(kind, settings, says):
    with pytest.raises(UserError, match=says):
        from_settings(kind, {'path': 'x', **settings})


def test_two_columns_may_change_places():
    columns = {'chosen': 'rejected', 'rejected': 'chosen'}
    assert Source('comparisons', 'x', columns).fields == {'prompt': 'prompt', **columns}


def test_columns_that_are_needed():
    source = Source(
        'demonstrations',
        'x',
        {'prompt': 'q'},
        group='dialog',
        prompt='{system} {prompt}',
        response='{prompt} {response}',
    )
    assert set(source.needed) == {'q', 'response', 'system', 'dialog'}
    assert source.template_columns('response') == ['q']
