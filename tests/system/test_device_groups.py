"""Groups of devices in every form in which XLA writes them."""

import pytest

from perl.system.device_groups import axes_of_groups

CUBE = {'data': 2, 'fsdp': 2, 'tensor': 2}


@pytest.mark.parametrize(
    ('groups', 'axes'),
    [
        ('{{0,1},{2,3},{4,5},{6,7}}', ('tensor',)),
        ('{{0,4},{1,5},{2,6},{3,7}}', ('data',)),
        ('{{0,1,2,3,4,5,6,7}}', ('data', 'fsdp', 'tensor')),
        ('{}', ('data', 'fsdp', 'tensor')),
        ('[4,2]<=[8]', ('tensor',)),
        ('[4,2]<=[4,2]T(1,0)', ('fsdp',)),
        ('[4,2]<=[2,4]T(1,0)', ('data',)),
        ('[4,2]<=[2,2,2]T(0,2,1)', ('fsdp',)),
        ('[2,4]<=[4,2]T(1,0)', ('data', 'fsdp')),
        ("mesh['a'=4,'b'=1,'c'=2] {'a'}", ('data', 'fsdp')),
        ("mesh['a'=8] {'a':(2)2}", ('fsdp',)),
        ("mesh['a'=8] {'a':(1)2}", ('data',)),
        ("mesh['a'=1,'b'=2,'c'=4], device_ids=([2,2,2]T(1,0,2)) {'b'}", ('fsdp',)),
    ],
)
def test_groups_are_axes_of_the_mesh(groups, axes):
    line = f'%r = f32[64]{{0}} all-reduce(%p), channel_id=1, replica_groups={groups}'
    assert axes_of_groups(f'{line}, use_global_device_ids=true', CUBE) == axes


def test_pairs_are_axes_too():
    pairs = '{{0,0},{1,2},{2,1},{3,3},{4,4},{5,6},{6,5},{7,7}}'
    line = f'%x = f32[8]{{0}} collective-permute(%p), source_target_pairs={pairs}'
    assert axes_of_groups(f'{line}, metadata={{}}', CUBE) == ('fsdp', 'tensor')
