"""Opens a run folder: config, data, tokenizer, mesh, base."""

import math
import pathlib
import sys
from collections.abc import Mapping

from ml_collections import ConfigDict

from perl import config as configs
from perl import data, sharding
from perl.config import kinds, lineage
from perl.data import chat
from perl.data.records import Dataset
from perl.models.architecture import parameters
from perl.runs import inputs, needs, same_run, saved_config, shared_files, trial
from perl.runs.base import architecture_of, describe_base, open_base
from perl.runs.run import Run
from perl.runs.tokenizer import make, open_tokenizer
from perl.system import hosts, results
from perl.system.errors import UserError


def begin_run(config: ConfigDict, workdir: pathlib.Path) -> Run:
    """A run without its base, new or resumed. Its config and its tokenizer are written
    last, once all checks have passed.

    Raises:
        UserError: the folder belongs to another config or holds something else, or data
            are not there.
    """
    saved_config.check(config, workdir)
    begun = hosts.as_first(saved_config.begun(config, workdir))
    if begun:
        hosts.first(lambda: shared_files.restore_tokenizer(workdir))
    run = open_run(config, workdir, anew=not begun)
    hosts.first(lambda: trial.try_rewards(config, run.dataset))
    if begun:
        hosts.first(lambda: saved_config.write(config, workdir))
    else:
        hosts.first(lambda: shared_files.begin(run))
    return run


def open_run(config: ConfigDict, workdir: pathlib.Path, anew: bool = False) -> Run:
    """A run without its base, as its folder has it.

    Args:
        config: of the run.
        workdir: its folder.
        anew: whether no stage has begun, so that the tokenizer is made and not read.

    Raises:
        UserError: data are not there, or do not fit the mesh.
    """
    mesh = sharding.make_mesh(**config.mesh)
    same_run.check_mesh(mesh)
    check_mesh(config, mesh.shape)
    dataset = open_data(config)
    if anew:
        tokenizer = make(config, dataset)
    else:
        tokenizer = open_tokenizer(config, dataset, workdir / 'tokenizer')
    if config.model.path:
        arch = describe_base(config, tokenizer)
    else:
        arch = architecture_of(config, tokenizer)
    for name in config.stages:
        if 'tuning' in config[name]:  # finds wrong target rules before any training
            with configs.of_stage(name):
                configs.tuning(config[name].tuning).declare(parameters(arch))
    return Run(config, workdir, mesh, dataset, tokenizer, arch)


def open_finished(workdir: str | pathlib.Path) -> Run:
    """A run as its `config.json` left it, with its base; on one device where there are
    fewer than it was trained on, since numbers do not depend on the mesh.

    Says what a finished stage would read now that it did not read when it was trained.

    Raises:
        UserError: the folder has no run, its config breaks a rule, or what a finished
            stage made, or sits on, was exchanged.
    """
    config, devices = saved_config.saved(workdir), len(sharding.devices())
    config.unlock()
    if math.prod(sharding.sizes(**config.mesh, devices=devices)) > devices:
        config.mesh = ConfigDict(dict.fromkeys(sharding.AXES, 1))
    run = open_run(config.lock(), pathlib.Path(workdir))
    open_base(run)
    done = results.read(workdir)
    for name in (x for x in config.stages if x in done):
        lines = '; '.join(inputs.check(run, name, all_there=False)[:8])
        if lines:
            print(f'{name}: since it was trained: {lines}', file=sys.stderr)
    return run


def open_data(config: ConfigDict) -> Dataset:
    """All records of the config's dataset.

    Raises:
        UserError: they cannot be read, or a stage has none to work with.
    """
    options = config.data.items()
    dataset = data.load(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in options}
    )
    if config.tokenizer.get('chat') == 'all':
        dataset = chat.wrap(dataset)
    needs.check(config, dataset)
    return dataset


def check_mesh(config: ConfigDict, axes: Mapping[str, int]) -> None:
    """Raises a `UserError` for the first batch that the mesh cannot take.

    Args:
        config: of the experiment.
        axes: the length of each axis of the mesh.
    """
    ways, batches = axes['data'] * axes['fsdp'], {}
    for name in config.stages:
        stage = config[name]
        if kinds.of(stage).trains(stage):
            batches[f'{name}.batch_size'] = stage.batch_size
        if stage.get('ptx_coefficient'):
            batches[f'{name}.ptx_batch_size'] = stage.ptx_batch_size
        if lineage.makes(config, name) == 'policy':
            batches['evaluation.batch_size'] = config.evaluation.batch_size
    for where, rows in batches.items():
        if rows % ways:
            raise UserError(
                f'{where}: {rows} rows do not divide over data x fsdp = {ways} '
                'devices; make it a multiple'
            )
