"""The words of the check."""

import pytest

from perl.report.findings import lines, too_large


def found(**changes):
    return {
        'mesh': {'wanted': 1, 'devices': 1},
        'memory': None,
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


@pytest.mark.parametrize(
    ('free', 'total', 'devices', 'warns', 'stops'),
    [
        (8, 8, 1, False, False),
        (5, 8, 1, True, False),
        (5, 5, 1, False, True),
        (8, 8, 2, False, True),
        (11, 12, 2, True, False),
    ],
)
def test_memory_that_there_is_not(free, total, devices, warns, stops):
    """6 GiB a device; devices of one machine share its memory."""
    memory = {'place': 'this machine', 'devices': devices}
    memory |= {'free': free * 2**30, 'total': total * 2**30}
    row = {'coverage': 'all', 'advice': [], 'trainable': 0}
    row['bytes_a_device'] = {'frozen': 2**32, 'trainable': 2**31}
    less = {**row, 'bytes_a_device': {'frozen': 2**30}}
    told = found(memory=memory, stages={'reward': row, 'sft': less})
    need = f'needs {6 * devices}.00 GiB of memory without activations, but this machine'
    warnings = [line for line in lines(told) if 'warning' in line]
    assert warnings == warns * [
        f'reward: warning: it {need} has {free}.00 GiB free of {total}.00 GiB; end '
        'other programs or make the model smaller'
    ]
    assert bool(too_large(told)) == stops
    assert too_large(told, ('sft',)) == '', 'the other stage is not to be run'
    if stops:
        assert too_large(told).startswith(f'reward: it {need} has {total}.00 GiB; ')


def test_memory_that_is_unknown_is_not_compared():
    row = {'coverage': 'all', 'advice': [], 'trainable': 0}
    told = found(stages={'reward': {**row, 'bytes_a_device': {'frozen': 2**60}}})
    assert too_large(told) == '' and len(lines(told)) == 1
