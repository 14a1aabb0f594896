"""Numbers do not depend on the mesh, and a resume may change it."""

import numpy as np
import pytest
import runs
from commands import launch
from runs import config, copy, dying, killed, run
from safetensors.numpy import load_file

from perl.stages.table import STAGES

MESHES = {
    'fsdp': {'mesh.fsdp': 2},
    'tensor': {'mesh.tensor': 2},
}


def assert_close(workdir, finished, stage):
    found, wanted = (runs.rows(folder / stage) for folder in (workdir, finished))
    for row, want in zip(found, wanted, strict=True):
        for name in ('loss', 'grad_norm'):
            assert row[name] == pytest.approx(want[name], rel=2e-3, abs=1e-4), name
    a, b = (
        load_file(folder / stage / 'adapter' / 'adapter.safetensors')
        for folder in (workdir, finished)
    )
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=2e-3, err_msg=name)


@pytest.fixture(scope='module')
def halfway(finished, tmp_path_factory):
    """A run on one device that ended at step 3 of the reward model."""
    workdir = tmp_path_factory.mktemp('halfway') / 'run'
    copy(finished, workdir, ['pretrain', 'sft'])
    with pytest.raises(runs.Killed), dying('reward', 3, killed):
        run(config(), workdir)
    return workdir


@pytest.mark.parametrize('mesh', MESHES.values(), ids=MESHES)
def test_resume_on_another_mesh(halfway, finished, tmp_path, mesh):
    workdir = runs.clone(halfway, tmp_path / 'run')
    run(config(**mesh), workdir, ['reward'])
    assert_close(workdir, finished, 'reward')


def test_back_to_one_device(finished, tmp_path):
    """SFT begun on eight devices, ended on one."""
    workdir = copy(finished, tmp_path / 'run', ['pretrain'])
    eight = {'mesh.data': 2, 'mesh.fsdp': 2, 'mesh.tensor': 2}
    with pytest.raises(runs.Killed), dying('sft', 3, killed):
        run(config(**eight), workdir)
    run(config(), workdir, ['sft'])
    assert_close(workdir, finished, 'sft')


def test_policy_on_many_devices(finished, tmp_path):
    workdir = copy(finished, tmp_path / 'run', list(STAGES)[:3])
    four = {'mesh.data': 2, 'mesh.fsdp': 2, 'policy.steps': 1}
    run(config(**four), workdir, ['policy'])
    row, want = runs.rows(workdir / 'policy')[0], runs.rows(finished / 'policy')[0]
    for name in ('reward', 'return', 'entropy', 'loss', 'response_length'):
        assert row[name] == pytest.approx(want[name], rel=2e-3, abs=1e-3), name


def test_mesh_by_flag(finished, tmp_path):
    workdir = copy(finished, tmp_path / 'run', ['pretrain'], config=True)
    ended = launch(workdir, '--stages=sft', '--config.mesh.data=2', arg='pair')
    assert ended.code == 0, 'the mesh is no other config'
    assert_close(workdir, finished, 'sft')
