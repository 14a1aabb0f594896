"""`perl.train --check`: builds everything on paper, in seconds, and trains nothing."""

import functools
import json
import math
import pathlib
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType
from ml_collections import ConfigDict

from perl import config as configs
from perl import sharding
from perl.config import kinds, lineage, rules
from perl.data import SPLITS, examples
from perl.judges import mixture
from perl.models import architecture, heads
from perl.runs import opening, saved_config
from perl.training import optimizer
from perl.weights import Leaf, abstract


def check(config: ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
    """All that can be known of a run before it starts.

    Args:
        config: of the experiment.
        workdir: where it would run; nothing is written.

    Returns:
        data (records, lengths, what is cut), stages (coverage, bytes a device).

    Raises:
        UserError: the first thing that would stop the run.
    """
    rules.validate(config)
    with tempfile.TemporaryDirectory() as scratch:
        saved_config.check(config, workdir)
        folder = workdir / 'tokenizer'
        dataset = opening.open_data(config)
        if not (folder.is_dir() and saved_config.begun(config, workdir)):
            folder = pathlib.Path(scratch) / 'tokenizer'
        tokenizer = opening.open_tokenizer(config, dataset, folder)
    if 'pretrain' not in config.stages:
        opening.base_path(config, workdir)
    if config.model.path:
        arch = opening.describe_base(config, tokenizer)[0]
    else:
        arch = configs.architecture(config, tokenizer.size)
    mesh = AbstractMesh(
        sharding.sizes(**config.mesh, devices=len(jax.devices())),
        sharding.AXES,
        axis_types=(AxisType.Auto,) * len(sharding.AXES),
    )
    opening.check_mesh(config, mesh.shape)
    leaves = architecture.parameters(arch)
    return {
        'config': config.name,
        'dropped': dict(dataset.counts),
        'data': {
            name: _data(config, name, dataset, tokenizer)
            for name in config.stages
            if kinds.of(config[name]).makes != 'base'
        },
        'stages': {
            name: _stage(config[name], leaves, arch, mesh) for name in config.stages
        },
    }


def main(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Prints the findings for a person, then as one JSON line."""
    found = check(config, workdir)
    wanted = math.prod(sharding.sizes(**config.mesh, devices=len(jax.devices())))
    if wanted > len(jax.devices()):
        print(f'mesh: of {wanted} devices; this machine has {len(jax.devices())}')
    for reason, count in found['dropped'].items():
        print(f'data: {reason}: {count}')
    for name, splits in found['data'].items():
        for split, row in splits.items():
            print(
                f'{name}/{split}: {row["examples"]} examples, prompt tokens '
                f'p50 {row["prompt_p50"]} p95 {row["prompt_p95"]} max '
                f'{row["prompt_max"]}, cut {row["prompts_cut"]} prompts and '
                f'{row["responses_cut"]} responses'
            )
    for name, row in found['stages'].items():
        parts = ', '.join(f'{k} {_mib(v)}' for k, v in row['bytes_a_device'].items())
        print(f'{name}: {row["coverage"]}; a device holds {parts}')
    print(json.dumps(found))


def _data(config, name, dataset, tokenizer):
    kind, _ = lineage.reads(config, name)
    splits = {}
    for split in SPLITS:
        records = getattr(dataset, kind)[split]
        if not records:
            continue
        limits = config.lengths
        data, counts = examples.encode(
            records, tokenizer, limits.prompt, limits.response
        )
        lengths = np.array([len(prompt) for prompt in data.prompts])
        splits[split] = {
            **counts,
            'prompt_p50': int(np.percentile(lengths, 50)),
            'prompt_p95': int(np.percentile(lengths, 95)),
            'prompt_max': int(lengths.max()),
        }
    return splits


def _stage(stage, leaves, arch, mesh):
    if kinds.of(stage).made_of:
        return _made(stage, arch)
    kind = configs.tuning(stage.tuning)
    said = kind.declare(leaves)
    scored = {**said, heads.HEAD: heads.head_leaves(arch.width)}
    if stage.get('head_only'):
        scored = {heads.HEAD: scored[heads.HEAD]}
    roles = {'reward': (scored,), 'policy': (said, scored)}.get(stage.kind, (said,))
    base = 0 if kind.replaces_base else _bytes(leaves, arch.dtype, mesh)
    if stage.kind == 'policy' and kind.replaces_base:
        base = 2 * _bytes(leaves, arch.dtype, mesh)  # reference and reward model
    trainable = _bytes(roles, 'float32', mesh)
    shapes = abstract(roles)
    full = sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))
    ratio = _moments(stage.optimizer, shapes) / full
    return {
        'coverage': kind.coverage(leaves),
        'trainable': full,
        'bytes_a_device': {
            'frozen': base,
            'trainable': trainable,
            'gradients': trainable,
            'optimizer': int(trainable * ratio),
        },
    }


def _made(stage, arch):
    """A stage that is made of others: of its own it has a gate at most."""
    gate, moments = 0, 0
    if kinds.of(stage).trains(stage):
        made = functools.partial(mixture.fresh, arch, stage.combine, len(stage.of))
        abstract = jax.eval_shape(made)
        gate = sum(math.prod(x.shape) for x in jax.tree.leaves(abstract))
        moments = _moments(stage.optimizer, abstract)
    parts = {'trainable': gate, 'gradients': gate, 'optimizer': moments}
    size = jnp.dtype('float32').itemsize
    return {
        'coverage': kinds.of(stage).recipe(stage),
        'trainable': gate,
        'bytes_a_device': {name: size * count for name, count in parts.items()},
    }


def _moments(config, abstract):
    """The numbers that the optimizer keeps."""
    state = jax.eval_shape(functools.partial(_optimizer_state, config), abstract)
    return sum(math.prod(x.shape) for x in jax.tree.leaves(state))


def _optimizer_state(config, params):
    return optimizer.make(config, 1).init(params)


def _bytes(leaves: Any, dtype: str, mesh) -> int:
    total = 0
    for leaf in jax.tree.leaves(leaves, is_leaf=lambda x: isinstance(x, Leaf)):
        placed = jax.sharding.NamedSharding(
            mesh, sharding.spec(leaf.axes, leaf.shape, mesh)
        )
        total += math.prod(placed.shard_shape(leaf.shape))
    return total * jnp.dtype(dtype).itemsize


def _mib(size: int) -> str:
    return f'{size / 2**20:.1f} MiB'
