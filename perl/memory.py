"""What each stage needs of the memory of a device, which need not be here.

    python -m perl.memory --config=configs/quickstart.py --target=cpu
    python -m perl.memory --config=configs/reddit_tldr.py --target=v5e:2x2 \\
        --model=configs/shapes/gemma_2b.json --mesh=fsdp=4 --tuning=lora,full

The programs of the stages are compiled for the target, without an array, and the
compiler says what they need: seconds for small models, minutes for large ones. No data
and no weights are read: a model is a `config.json` of Hugging Face, or a base. With
`--collectives` it also shows what the devices of a mesh send each other.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from jax.sharding import Mesh
from ml_collections import ConfigDict
from tqdm import tqdm

from perl import config as configs
from perl import sharding
from perl.config import kinds, recipes, rules, stage_names
from perl.data import tokenizers
from perl.models import bases, families
from perl.models.architecture import Architecture
from perl.report.collectives_table import collectives_table, summary
from perl.report.needs_table import needs_table, verdict
from perl.runs import half_precision, opening
from perl.runs.base import run_as
from perl.stages.needs import Need, needs
from perl.system import cli, jsonl, targets
from perl.system.errors import UserError


def memory(
    config: ConfigDict,
    mesh: Mesh,
    tunings: Sequence[str] = (),
    stages: Sequence[str] | None = None,
) -> list[tuple[str, Need]]:
    """What the programs of a config need, with the tuning of each.

    Args:
        config: of the experiment.
        mesh: of devices, see `perl.system.targets`.
        tunings: names of docs/tunings.md, each of which takes the place of that of
            every stage but pretraining; none leaves the config as it is, and names it
            ''.
        stages: some of the config's; all by default.

    Raises:
        UserError: the config or a tuning breaks a rule.
    """
    platform = mesh.devices.flat[0].platform
    config = half_precision.resolve(config, platform=platform)
    work = [(x, *_tuned(config, x)) for x in tunings or ('',)]
    for _, changed, _ in work:
        stage_names.check_chosen(changed, stages)
        opening.check_mesh(changed, mesh.shape)
    jobs = [(x, c, a, s) for x, c, a in work for s in stages or c.stages]
    return list(_compiled(jobs, mesh))


def _compiled(jobs: Any, mesh: Mesh) -> Iterator[tuple[str, Need]]:
    for tuning, config, arch, stage in tqdm(jobs, 'stages', disable=None):
        yield from ((tuning, need) for need in needs(arch, config, stage, mesh))


def _tuned(config, tuning) -> tuple[ConfigDict, Architecture]:
    """The config with its stages tuned so, and its decoder."""
    changed = config.copy_and_resolve_references()
    with changed.unlocked():
        for name in changed.stages if tuning else ():
            stage = changed[name]
            if 'tuning' in stage and kinds.of(stage).makes != 'base':
                rank = stage.tuning.get('rank', 8)
                stage.tuning = configs.tuning_config(tuning, rank)
    rules.validate(changed)
    path = changed.model.path
    if not path:
        return changed, configs.architecture(changed, _vocabulary(changed))
    if pathlib.Path(path).suffix == '.json':
        arch = families.from_foreign(_card(pathlib.Path(path)), path)[1]
    else:
        arch = bases.describe(path)
    rules.check_window(changed, arch.max_length)
    return changed, run_as(changed, arch)


def _card(file):
    """What a `config.json` says."""
    if not file.is_file():
        raise UserError(
            f'model.path: {file} is not there; give the config.json of a model, such '
            'as one of configs/shapes, or a base'
        )
    return jsonl.load(file)


def _vocabulary(config):
    """How many tokens a base that pretraining makes will have, at most."""
    if config.tokenizer.kind == 'bytes':
        return tokenizers.Bytes().size
    if config.tokenizer.kind == 'file':
        return tokenizers.load(pathlib.Path(config.tokenizer.path)).size
    return config.tokenizer.size


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    if values.model:
        with values.config.unlocked():
            recipes.use_base(values.config, values.model)
    shape = targets.mesh_shape(values.mesh, sharding.AXES)
    target = targets.open_target(values.target, math.prod(shape.values()))
    mesh = targets.mesh_of(target, shape)
    rows = memory(values.config, mesh, values.tuning or (), values.stages)
    if rows:
        print(needs_table(rows, target.memory).markdown())
        print(verdict(rows, target))
    if values.collectives:
        print(collectives_table(rows).markdown())
    trained = {need.stage for _, need in rows}
    for stage in values.stages or values.config.stages:
        if stage not in trained:
            print(f'{stage}: no step is trained, so nothing is compiled')
    if values.json:
        found = [
            {'tuning': name, **dataclasses.asdict(need), 'collectives': summary(need)}
            for name, need in rows
        ]
        said = {'target': target.name, 'memory': target.memory, 'mesh': shape}
        print(json.dumps({**said, 'programs': found}))


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    cli.define_config(configs.load_config)
    flags.DEFINE_string('model', '', 'takes the place of model.path; a config.json too')
    flags.DEFINE_string('target', 'cpu', 'cpu, h100x8, a100x1, v5e:2x2, v5p:4x4x4, …')
    flags.DEFINE_string('mesh', '', 'lengths of axes, such as data=1,fsdp=4,tensor=1')
    flags.DEFINE_list('tuning', None, 'compare these, such as lora,full,qlora')
    flags.DEFINE_list('stages', None, 'only these stages of the config')
    flags.DEFINE_bool('collectives', False, 'show what devices send each other')
    flags.DEFINE_bool('json', False, 'print the bytes as JSON at the end')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('config',))
