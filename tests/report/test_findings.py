"""The words of the check."""

import pytest

from perl.report.findings import lines


def found(**changes):
    return {
        'mesh': {'wanted': 1, 'devices': 1},
        'not_run': [],
        'examples': {},
        'dropped': {},
        'vocabulary': {'rows': 9, 'pieces': 9, 'padding': 0},
        'data': {},
        'rewards': {},
        'stages': {},
        **changes,
    }


PROMPTS = {'prompt_p50': 5, 'prompt_p95': 6, 'prompt_max': 7}
RESPONSES = {'response_p50': 5, 'response_p95': 6, 'response_max': 7}
TEXT = {'documents': 3, 'tokens': 90, 'rows': 2}


@pytest.mark.parametrize(
    ('stage', 'split', 'row', 'says'),
    [
        (
            *('reward', 'test', {'examples': 1, **PROMPTS, **RESPONSES}),
            ['reward/test: so few examples say little: give 30 or more'],
        ),
        ('reward', 'test', {'examples': 30, **PROMPTS, **RESPONSES}, []),
        ('reward', 'train', {'examples': 1, **PROMPTS, **RESPONSES}, []),
        (
            *('pretrain', 'train', {**TEXT, 'epochs': 800.0}),
            ['pretrain/train: each document is seen 800 times; lower pretrain.steps'],
        ),
        ('pretrain', 'train', {**TEXT, 'epochs': 50.0}, []),
        (
            *('sft', 'train'),
            {'examples': 99, 'epochs': 512.3, **PROMPTS, **RESPONSES},
            ['sft/train: each example is seen 512 times; lower sft.steps'],
        ),
        ('policy', 'train', {'examples': 99, 'epochs': 512.3, **PROMPTS}, []),
    ],
)
def test_what_a_person_should_change(stage, split, row, says):
    """Prompts alone may be answered often: the responses are new each time."""
    first, *others = lines(found(data={stage: {split: row}}))
    assert first.startswith(f'{stage}/{split}: ') and others == says


def test_a_head_is_counted():
    """As `results.json` and the report count it; what trains nothing has no count."""
    row = {
        'coverage': '4 of 9',
        'advice': [],
        'trainable': 16513,
        'bytes_a_device': {'frozen': 2**20},
    }
    still = {**row, 'coverage': 'mean of a, b', 'trainable': 0}
    assert lines(found(stages={'reward': row, 'both': still})) == [
        'reward: 4 of 9; 16,513 trained in all, heads included; a device holds frozen '
        '1.0 MiB',
        'both: mean of a, b; a device holds frozen 1.0 MiB',
    ]


def test_rewards_of_the_first_rows():
    nan, row = float('nan'), {'reward': 'mine:f'}
    assert lines(found(rewards={'policy': {**row, 'values': [0.5, nan]}})) == [
        'policy: mine:f rewards the first two rows with 0.5 and nan'
    ]
    assert lines(found(rewards={'policy': {**row, 'values': [nan, nan]}})) == [
        'policy: mine:f has no verdict on the first two rows; training stops where '
        'half of a batch or more has none'
    ]
