"""`perl.train --check`: builds everything on paper, in seconds, and trains nothing."""

import json
import math
import pathlib
import tempfile
from typing import Any

import numpy as np
from jax.sharding import AbstractMesh, AxisType
from ml_collections import ConfigDict

from perl import config as configs
from perl import sharding
from perl.config import kinds, lineage, rules
from perl.data import SPLITS, examples
from perl.models.architecture import parameters
from perl.runs import judging, opening, saved_config
from perl.stages.table import STAGES


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
        sharding.sizes(**config.mesh, devices=len(sharding.devices())),
        sharding.AXES,
        axis_types=(AxisType.Auto,) * len(sharding.AXES),
    )
    opening.check_mesh(config, mesh.shape)
    rewards = judging.try_rewards(config, dataset)
    return {
        'config': config.name,
        'dropped': dict(dataset.counts),
        'padding_rows': arch.padding,
        'data': {
            name: _data(config, name, dataset, tokenizer)
            for name in config.stages
            if kinds.of(config[name]).makes != 'base'
        },
        'rewards': rewards,
        'stages': {name: _stage(config, name, arch, mesh) for name in config.stages},
    }


def main(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Prints the findings for a person, then as one JSON line."""
    found = check(config, workdir)
    wanted = math.prod(sharding.sizes(**config.mesh, devices=len(sharding.devices())))
    if wanted > len(sharding.devices()):
        print(f'mesh: of {wanted} devices; this machine has {len(sharding.devices())}')
    for reason, count in found['dropped'].items():
        print(f'data: {reason}: {count}')
    if found['padding_rows']:
        print(
            f'model: {found["padding_rows"]} rows of the embedding are padding: the '
            'tokenizer has no piece for them, and they are never drawn'
        )
    for name, splits in found['data'].items():
        for split, row in splits.items():
            print(
                f'{name}/{split}: {row["examples"]} examples, prompt tokens '
                f'p50 {row["prompt_p50"]} p95 {row["prompt_p95"]} max '
                f'{row["prompt_max"]}, cut {row["prompts_cut"]} prompts and '
                f'{row["responses_cut"]} responses'
            )
    for name, two in found['rewards'].items():
        values = ' and '.join(f'{x:.4g}' for x in two)
        print(f'{name}: {config[name].reward} rewards the first two rows with {values}')
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


def _stage(config, name, arch, mesh):
    section = config[name]
    plan = STAGES[section.kind].plan(arch, config, name)
    recipe = kinds.of(section).recipe(section)
    zero = dict.fromkeys(('frozen', 'trainable', 'gradients', 'optimizer'), 0)
    return {
        'coverage': recipe or configs.coverage(section.tuning, parameters(arch)),
        'trainable': plan.parameter_count() if plan else 0,
        'bytes_a_device': plan.bytes_per_device(mesh) if plan else zero,
    }


def _mib(size: int) -> str:
    return f'{size / 2**20:.1f} MiB'
