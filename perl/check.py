"""Builds everything on paper, in seconds, and trains nothing.

    python -m perl.check --config=configs/quickstart.py --workdir=runs/quickstart

`python -m perl.train --check` is the same. `--json` adds the findings as one JSON line.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict

from perl import config as configs
from perl import sharding
from perl.config import advice, kinds, rules, stage_names
from perl.data.records import Dataset
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.models.architecture import parameters
from perl.report.findings import lines, too_large
from perl.runs import (
    half_precision,
    opening,
    prerequisites,
    saved_config,
    stage_surveys,
    start_folders,
    trial,
)
from perl.runs.base import architecture_of, base_path, describe_base
from perl.runs.tokenizer import make, open_tokenizer
from perl.stages.table import STAGES
from perl.system import capacity, cli
from perl.system.errors import UserError


def check(
    config: ConfigDict,
    workdir: str | pathlib.Path | None = None,
    stages: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All that can be known of a run before it starts.

    Args:
        config: of the experiment.
        workdir: where it would run, `runs/<name>` by default; nothing is written.
        stages: those that would be run, with what they go on from; all by default.

    Returns:
        config (its name), dropped (counts of the reader), vocabulary (rows of the base,
        pieces of the tokenizer, padding), data (by stage and split, see `survey`),
        examples (one of each kind and split, what is learned marked), rewards (of the
        first two rows, where the reward is a function), stages (coverage, advice, bytes
        a device), not_run (stages that the config describes and does not name in
        `stages`), mesh (devices wanted and there), memory (of the devices that would
        run it, see `Capacity`; None if it is unknown or there are too few devices).

    Raises:
        UserError: the first thing that would stop the run.
    """
    rules.validate(config)
    workdir = pathlib.Path(workdir or pathlib.Path('runs') / config.name)
    config = half_precision.resolve(config, workdir)
    stage_names.check_chosen(config, stages)
    prerequisites.check(config, workdir, stages or ())
    saved_config.check(config, workdir)
    dataset = opening.open_data(config)
    tokenizer = _tokenizer(config, dataset, workdir)
    if 'pretrain' not in config.stages:
        base_path(config, workdir)
    described = describe_base if config.model.path else architecture_of
    arch = described(config, tokenizer)
    mesh, devices = sharding.abstract_mesh(**config.mesh), len(sharding.devices())
    opening.check_mesh(config, mesh.shape)
    rewards = trial.try_rewards(config, dataset)
    data = stage_surveys.by_stage(config, dataset, tokenizer)
    return {
        'config': config.name,
        'not_run': [x for x in configs.known_stages(config) if x not in config.stages],
        'mesh': {'wanted': mesh.size, 'devices': devices},
        'memory': _memory(mesh.size),
        'dropped': dict(dataset.counts),
        'vocabulary': {
            'rows': arch.vocabulary,
            'pieces': tokenizer.size,
            'padding': arch.padding,
        },
        'data': data,
        'examples': stage_surveys.examples(config, dataset, tokenizer),
        'rewards': {
            name: {'reward': config[name].reward, 'values': values}
            for name, values in rewards.items()
        },
        'stages': _stages(config, arch, tokenizer, mesh, data),
    }


def _tokenizer(
    config: ConfigDict, dataset: Dataset, workdir: pathlib.Path
) -> Tokenizer:
    """That of the run folder, where it has begun; else a new one that is not kept."""
    folder = workdir / 'tokenizer'
    if folder.is_dir() and saved_config.begun(config, workdir):
        return open_tokenizer(config, dataset, folder)
    return make(config, dataset)


def _memory(count: int) -> dict[str, Any] | None:
    """The memory of the first `count` devices, as far as they are of this process."""
    devices = sharding.devices()
    here = [x for x in devices[:count] if x.process_index == jax.process_index()]
    found = capacity.capacity(here) if here and count <= len(devices) else None
    return found and dataclasses.asdict(found)


def show(
    config: ConfigDict,
    workdir: str | pathlib.Path | None,
    stages: Sequence[str] | None = None,
    as_json: bool = False,
) -> None:
    """Checks and prints the findings for a person; then, if asked, as one JSON line.

    Raises:
        UserError: as `check`; and, after the findings, if a stage needs more memory
            than this machine or its accelerator has.
    """
    findings = check(config, workdir, stages)
    print('\n'.join(lines(findings)))
    error = too_large(findings, stages or ())
    if not error:
        print('check: found nothing that would stop the run')
    if as_json:
        print(json.dumps(findings))
    if error:
        raise UserError(error)


def _stages(config, arch, tokenizer, mesh, data):
    found = {x: _stage(config, x, arch, mesh, data[x]) for x in config.stages}
    start_folders.check(config, arch, tokenizer)
    return found


def _stage(config, name, arch, mesh, data):
    with configs.of_stage(name):
        return _on_paper(config, name, arch, mesh, data)


def _on_paper(config, name, arch, mesh, data):
    section, leaves = config[name], parameters(arch)
    plan = STAGES[section.kind].plan(arch, config, name)
    trainable = plan.parameter_count() if plan else 0
    recipe, found = kinds.of(section).recipe(section), []
    if not recipe:
        tokens = stage_surveys.imitated(section, data['train'])
        found = advice.lora(config, name, leaves, trainable, tokens)
    zero = dict.fromkeys(('frozen', 'trainable', 'gradients', 'optimizer'), 0)
    return {
        'coverage': recipe or configs.coverage(section.tuning, leaves),
        'advice': found,
        'trainable': trainable,
        'bytes_a_device': plan.bytes_per_device(mesh) if plan else zero,
    }


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    show(values.config, values.workdir or None, values.stages, values.json)


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    cli.define_config(configs.load_config)
    flags.DEFINE_string('workdir', '', 'the run folder; runs/<name of the config>')
    flags.DEFINE_list('stages', None, 'run only these stages of the config')
    flags.DEFINE_bool('json', False, 'check: print the findings as JSON at the end')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('config',))
