"""Names of devices that need not be here, and meshes of them."""

import pytest

from perl.system import targets
from perl.system.errors import UserError

AXES = ('data', 'fsdp', 'tensor')


def test_lengths_of_axes():
    assert targets.mesh_shape('', AXES) == {'data': 1, 'fsdp': 1, 'tensor': 1}
    shape = targets.mesh_shape('tensor=2,fsdp=4', AXES)
    assert shape == {'data': 1, 'fsdp': 4, 'tensor': 2}


@pytest.mark.parametrize('text', ['fsdp', 'fsdp=0', 'fsdp=-1', 'fsdp=1.5', 'x=1', '4'])
def test_lengths_that_cannot_be(text):
    with pytest.raises(UserError, match='is not an axis and its length; write data=1,'):
        targets.mesh_shape(text, AXES)


def test_the_machine_that_is_here():
    target = targets.open_target('cpu', 8)
    assert len(target.devices) == 8 and target.memory > 2**27
    mesh = targets.mesh_of(target, {'data': 2, 'fsdp': 1, 'tensor': 2})
    assert mesh.shape == {'data': 2, 'fsdp': 1, 'tensor': 2}
    with pytest.raises(UserError, match='mesh: it is of 16 devices, cpu has 8; choose'):
        targets.mesh_of(target, {'data': 16, 'fsdp': 1, 'tensor': 1})


@pytest.mark.parametrize(
    'name', ['', 'gpu', 'h100x', 'h100x0', 'v5e', 'v5e:2', 'v9:2x2', 'tpu']
)
def test_unknown_names(name):
    with pytest.raises(UserError, match=r'is none of cpu, a100 or h100 with a number'):
        targets.open_target(name)


@pytest.mark.parametrize('chip, gib', [('h100', 79.1), ('a100', 79.3)])
def test_chips_have_the_memory_of_their_descriptions(chip, gib):
    assert targets._memory_of(chip) / 2**30 == pytest.approx(gib, abs=0.05)


@pytest.mark.parametrize(
    'name, module, says',
    [
        ('v5e:3x3', None, "install '.[tpu]'"),
        ('v5e:3x3', 'libtpu', 'give a topology that there is'),
        ('h100', 'libtpu', "install '.[target]'"),
    ],
)
def test_what_helps(monkeypatch, name, module, says):
    def refuse(*_):
        raise ValueError('why')

    for maker in ('_gpus', '_tpus'):
        monkeypatch.setattr(targets, maker, refuse)
    found = {module} - {None}
    monkeypatch.setattr(targets.importlib.util, 'find_spec', lambda x: x in found)
    with pytest.raises(UserError) as error:
        targets.open_target(name)
    assert f'cannot compile for {name} here (why); {says}' in str(error.value)
