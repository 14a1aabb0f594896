"""Opens a run folder: config, data, tokenizer, mesh, base."""

import functools
import math
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl import data, sharding
from perl.config import kinds, lineage, rules
from perl.data import chat, tokenizers
from perl.data.records import Dataset
from perl.models import bases, frozen_base, store
from perl.models.architecture import Architecture, parameters
from perl.runs import inputs, needs, saved_config, shared_files, trial
from perl.runs.run import Run
from perl.runs.tokenizer import make, open_tokenizer
from perl.system import results
from perl.system.errors import UserError


def begin_run(config: ConfigDict, workdir: pathlib.Path) -> Run:
    """A run without its base, new or resumed. Its config and its tokenizer are written
    last, once all checks have passed.

    Raises:
        UserError: the folder belongs to another config or holds something else, or data
            are not there.
    """
    saved_config.check(config, workdir)
    begun = saved_config.begun(config, workdir)
    if begun:
        shared_files.restore_tokenizer(workdir)
    run = open_run(config, workdir, anew=not begun)
    trial.try_rewards(config, run.dataset)
    if begun:
        saved_config.write(config, workdir)
    else:
        shared_files.begin(run)
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


def open_base(run: Run) -> None:
    """Puts the base on the mesh: the file of the config, or what pretraining made.

    Raises:
        UserError: there is none yet.
    """
    path = base_path(run.config, run.workdir)
    place = functools.partial(frozen_base.place_leaf, run.arch, run.mesh)
    encode = functools.partial(frozen_base.encoder, run.arch)
    run.base, digits = bases.load(path, run.arch, place, encode)
    run.base_id = frozen_base.name(run.arch, digits)


def base_path(config: ConfigDict, workdir: pathlib.Path) -> pathlib.Path:
    """Where the base is: the file or folder of the config, or what pretraining made.

    Raises:
        UserError: there is none yet.
    """
    made = workdir / 'pretrain' / 'base'
    if not config.model.path and not made.is_dir():
        raise UserError(
            'model.path: no base is given and the stage pretrain has not made one; '
            'run the stage pretrain first, or give model.path'
        )
    return pathlib.Path(config.model.path or made)


def architecture_of(config: ConfigDict, tokenizer: Any) -> Architecture:
    """The architecture of a base that pretraining makes, for a tokenizer."""
    arch = configs.architecture(config, tokenizer.size)
    return store.changed(arch, holes=tokenizer.holes)


def describe_base(config: ConfigDict, tokenizer: Any) -> Architecture:
    """The architecture of `model.path`, run as the config wants."""
    arch = bases.describe(config.model.path)
    # Gemma 3 has a token for images, which text never becomes, and no row for it
    if tokenizer.size > arch.vocabulary and tokenizer.reach > arch.vocabulary:
        raise UserError(
            f'tokenizer: it has {tokenizer.size} ids, the base of model.path only '
            f'{arch.vocabulary}; give the tokenizer that belongs to the base'
        )
    own = pathlib.Path(config.model.path) / 'tokenizer'  # of a base of ours
    if own.is_dir() and tokenizers.load(own).fingerprint != tokenizer.fingerprint:
        raise UserError(
            f'tokenizer: it is not the one that the base of {config.model.path} was '
            f'trained with; set tokenizer.kind=file and tokenizer.path={own}'
        )
    rules.check_window(config, arch.max_length)
    # a run folder of an earlier version has no precision in its config
    precision = config.model.get('precision', arch.precision)
    how = {name: config.model[name] for name in ('dtype', 'scan', 'remat')}
    pieces = min(tokenizer.size, arch.vocabulary)
    holes = tuple(x for x in tokenizer.holes if x < pieces)
    how |= {'pieces': pieces, 'holes': holes, 'precision': precision}
    how['quantization'] = configs.quantization(config)
    return store.changed(arch, **how)


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
