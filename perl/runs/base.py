"""The base of a run: the one that pretraining makes, or that of `model.path`."""

import functools
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict

from perl import config as configs
from perl import sharding
from perl.config import rules
from perl.data import tokenizers
from perl.data.records import Dataset
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.models import bases, frozen_base, store
from perl.models.architecture import Architecture
from perl.runs.run import Run
from perl.system.errors import UserError

_LONGEST = 2048  # tokens of prompt and response that are scored, if the window has them


def architecture_of(config: ConfigDict, tokenizer: Any) -> Architecture:
    """The architecture of a base that pretraining makes, for a tokenizer."""
    arch = configs.architecture(config, tokenizer.size)
    return store.changed(arch, holes=tokenizer.holes)


def describe_base(
    config: ConfigDict, tokenizer: Any, scores: bool = False
) -> Architecture:
    """The architecture of `model.path`, which may be a classifier where `scores` says
    so, run as the config wants."""
    arch = bases.describe(config.model.path, scores)
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
    pieces = min(tokenizer.size, arch.vocabulary)
    holes = tuple(x for x in tokenizer.holes if x < pieces)
    return store.changed(run_as(config, arch), pieces=pieces, holes=holes)


def run_as(config: ConfigDict, arch: Architecture) -> Architecture:
    """The decoder of a base that is brought, run as the config wants."""
    how = {name: config.model[name] for name in ('dtype', 'scan', 'remat')}
    # a run folder of an earlier version has these not in its config
    for name in ('precision', 'attention'):
        how[name] = config.model.get(name, getattr(arch, name))
    how['quantization'] = configs.quantization(config, arch.quantization)
    return store.changed(arch, **how)


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


def tokenizer_of(path: str) -> Tokenizer:
    """The tokenizer that a model brings.

    Raises:
        UserError: it brings none.
    """
    tokenizer = tokenizers.of_base(path)
    if tokenizer is None:
        raise UserError(
            f'model.path: {path} brings no tokenizer; put its tokenizer.json or '
            'tokenizer.model beside it'
        )
    return tokenizer


def over(
    path: str,
    tokenizer: Tokenizer,
    mesh: jax.sharding.Mesh | None = None,
    quantization: str = 'none',
    scores: bool = False,
) -> Run:
    """A run without stages and data over a model.

    Args:
        path: of the model.
        tokenizer: of the model, with its chat template where it is to be read.
        mesh: where its parameters lie; None for one device.
        quantization: how its kernels are stored.
        scores: whether it may be a classifier, whose base then has a scalar head.
    """
    config = configs.experiment('model')
    for stage in configs.known_stages(config):
        del config[stage]
    config.stages, config.model.path = (), path
    config.model.quantization = quantization
    half = min(_LONGEST, bases.describe(path, scores).max_length) // 2
    config.lengths.prompt = config.lengths.response = half
    arch = describe_base(config, tokenizer, scores)
    mesh = mesh or sharding.make_mesh()
    run = Run(config, pathlib.Path(path), mesh, Dataset('none'), tokenizer, arch)
    open_base(run)
    return run
