"""Whether the processes of a run compute the same: in silence they would go apart."""

import json
import pathlib
import secrets
from collections.abc import Sequence

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from perl import config as configs
from perl.data import SPLITS
from perl.data.records import RECORDS
from perl.runs.run import Run
from perl.system import environment, hosts
from perl.system.errors import UserError

TOKEN = '.hosts'
# what JAX computes depends on
_SETTINGS = (
    'jax_enable_x64',
    'jax_default_matmul_precision',
    'jax_default_prng_impl',
    'jax_threefry_partitionable',
)


def check_config(config: ConfigDict, stages: Sequence[str] | None) -> None:
    """Raises a `UserError` where a process has another config or other code.

    Args:
        config: of the experiment.
        stages: those that the command runs.
    """
    if not hosts.together():
        return
    chosen = json.dumps([configs.to_json(config), stages and [*stages]], sort_keys=True)
    settings = [str(getattr(jax.config, name)) for name in _SETTINGS]
    hosts.check_same(
        {
            'config': chosen,
            'code of perl': environment.sources(),
            'version of jax': jax.__version__,
            'settings of jax': ' '.join(settings),
        }
    )


def check_folder(workdir: pathlib.Path) -> None:
    """Raises a `UserError` where the processes do not share the run folder."""
    if not hosts.together():
        return
    token, file = secrets.token_hex(8), workdir / TOKEN
    hosts.first(lambda: file.write_text(token))
    found = file.read_text() if file.is_file() else ''
    hosts.first(file.unlink)
    try:
        hosts.check_same({'run folder': found})
    except UserError:
        raise UserError(
            f'--workdir: {workdir} is not one folder for all processes; give a folder '
            'on a disk that all hosts share'
        ) from None


def check_mesh(mesh: Mesh) -> None:
    """Raises a `UserError` where the mesh leaves out devices of a process."""
    if hosts.together() and mesh.size < jax.device_count():
        shape = ' x '.join(str(x) for x in mesh.shape.values())
        raise UserError(
            f'mesh: {shape} has {mesh.size} of the {jax.device_count()} devices of '
            f'{jax.process_count()} processes, which a run uses all; '
            'set --config.mesh.data=-1'
        )


def check_inputs(run: Run) -> None:
    """Raises a `UserError` where a process has read other data or another tokenizer."""
    if not hosts.together():
        return
    data = [run.data_fingerprint(kind, split) for kind in RECORDS for split in SPLITS]
    hosts.check_same({'data': ' '.join(data), 'tokenizer': run.tokenizer.fingerprint})
