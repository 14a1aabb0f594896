"""Opens a run folder: config, data, tokenizer, mesh, base."""

import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl import data, jsonl, sharding
from perl.data import tokenizers
from perl.data.records import SPLITS, Dataset
from perl.errors import UserError
from perl.metrics import read_results
from perl.models import store
from perl.rules import KINDS
from perl.stages import lineage
from perl.stages.run import Run

# may differ between the sittings of one run: numbers do not depend on them
FREE = ('mesh', 'tensorboard', 'stages')

# what a stage, or the loss of a reward model, reads: records and their splits
NEEDS = {
    'pretrain': ('text', ('train', 'val')),
    'sft': ('demonstrations', ('train', 'val')),
    'bradley_terry': ('comparisons', SPLITS),
    'pointwise': ('ratings', SPLITS),
    'policy': ('prompts', ('train', 'test')),
    'dpo': ('comparisons', ('train', 'val')),
}


def open_run(config: ConfigDict, workdir: pathlib.Path) -> Run:
    """A run without its base.

    Raises:
        UserError: the folder belongs to another config, or data are not there.
    """
    mesh = sharding.make_mesh(**config.mesh)
    dataset = open_data(config)
    keep_config(config, workdir)
    tokenizer = open_tokenizer(config, dataset, workdir / 'tokenizer')
    if config.model.path:
        arch, _ = describe_base(config, tokenizer)
    else:
        arch = configs.architecture(config, tokenizer.size)
    return Run(config, workdir, mesh, dataset, tokenizer, arch)


def open_data(config: ConfigDict) -> Dataset:
    """All records of the config's dataset.

    Raises:
        UserError: they cannot be read, or a stage has none to work with.
    """
    options = config.data.items()
    dataset = data.load(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in options}
    )
    for name in config.stages:
        kind, splits = needs(config[lineage.origin(config, name)])
        for split in splits:
            if not getattr(dataset, kind)[split]:
                raise UserError(
                    f'{name}: {dataset.name} has no {kind} in its {split} split; give '
                    'it some, choose another loss, or leave the stage out'
                )
        _needs_demonstrations(config[name], name, dataset)
    return dataset


def _needs_demonstrations(stage, name, dataset):
    centred = stage.kind == 'reward' and stage.centre == 'demonstrations'
    if centred and not dataset.demonstrations['val']:
        raise UserError(
            f'{name}.centre: {dataset.name} has no demonstrations in its val split to '
            'average 0 on; set it to responses'
        )


def needs(stage: ConfigDict) -> tuple[str, tuple[str, ...]]:
    """The kind of records that a stage reads, and their splits."""
    return NEEDS[stage.loss if stage.kind == 'reward' else stage.kind]


def open_base(run: Run) -> None:
    """Puts the base on the mesh: the file of the config, or what pretraining made.

    Raises:
        UserError: there is none yet.
    """
    made = run.workdir / 'pretrain' / 'base'
    if not run.config.model.path and not made.is_dir():
        raise UserError(
            'model.path: no base is given and the stage pretrain has not made one; '
            'run the stage pretrain first, or give model.path'
        )
    run.use_base(store.load(run.config.model.path or made)[1])


def describe_base(config: ConfigDict, tokenizer: Any) -> tuple[Any, Any]:
    """The architecture and parameters of `model.path`, run as the config wants."""
    arch, params = store.load(config.model.path)
    if tokenizer.size > arch.vocabulary:
        raise UserError(
            f'tokenizer: it has {tokenizer.size} ids, the base of model.path only '
            f'{arch.vocabulary}; give the tokenizer that belongs to the base'
        )
    how = {name: config.model[name] for name in ('dtype', 'scan', 'remat')}
    return store.changed(arch, **how), params


def keep_config(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Writes `config.json`, after a check of the one that is there.

    A stage that has not begun may be another than it was, or come new.

    Raises:
        UserError: the folder was begun with another config; says what differs.
    """
    file, now = workdir / 'config.json', configs.to_json(config)
    before = jsonl.load(file)
    if before == now:
        return
    if before:
        names = (before.keys() | now.keys()) - {*FREE}
        kept = [x for x in names if not _ahead(workdir, before | now, x)]
        old, new = ({name: x.get(name) for name in kept} for x in (before, now))
        lines = configs.differences(old, new)
        if lines:
            raise UserError(
                f'{workdir} was begun with another config ({"; ".join(lines[:8])}); '
                'give the old values or another --workdir'
            )
    workdir.mkdir(parents=True, exist_ok=True)
    jsonl.replace(file, json.dumps(now, indent=2) + '\n')


def _ahead(workdir, config, name):
    """Whether this is a stage that has not begun."""
    section = config[name]
    stage = isinstance(section, dict) and section.get('kind') in KINDS
    begun = (workdir / name).is_dir() or name in read_results(workdir)
    return stage and not begun


def open_tokenizer(config: ConfigDict, dataset: Any, folder: pathlib.Path) -> Any:
    """The run's tokenizer: made or found once, then kept in the run folder."""
    if folder.is_dir():
        return tokenizers.load(folder)
    kind = config.tokenizer.kind
    if kind == 'bytes':
        made = tokenizers.Bytes()
    elif kind == 'file':
        made = tokenizers.load(config.tokenizer.path)
    else:
        texts = dataset.text['train']
        made = tokenizers.train_sentencepiece(texts, config.tokenizer.size)
    made.save(folder)
    return made
