"""Stages that are made from other stages: which ones, and the rules for that.

A reward model may start from an earlier one; averages and ensembles are made of
stages that are finished before them, and a policy learns from an earlier reward model.
"""

import dataclasses
from typing import Any

from perl import config as configs
from perl.config import fields, kinds
from perl.system.errors import UserError
from perl.system.suggest import near_miss


def origin(config: Any, stage: str) -> str:
    """The trained stage that a stage is made from: itself, or the first of its stages,
    which all have the same data, loss and start.

    Raises:
        UserError: it is made of nothing, or of itself.
    """
    before = [stage]
    while kinds.of(config[stage]).made_of:
        of = config[stage].of
        if not of or of[0] in before or of[0] not in configs.known_stages(config):
            raise UserError(f'{stage}.of: name the earlier stages that it is made of')
        stage = of[0]
        before.append(stage)
    return stage


def makes(config: Any, stage: str) -> str:
    """What a stage leaves behind: base, sft, reward or policy."""
    return kinds.of(config[origin(config, stage)]).makes


def reads(config: Any, stage: str) -> kinds.Reads:
    """The kind of records that a stage reads, and in which splits."""
    section = config[origin(config, stage)]
    return kinds.of(section).reads(section)


def reward_of(config: Any, stage: str) -> str:
    """The reward that a stage's policy was trained on, or is compared by."""
    return config[origin(config, stage)].reward


def trained_by(config: Any, stage: str) -> tuple[str, str]:
    """(judge, model) whose rewards trained a stage's policy; `model` is the name of a
    language model that judged, else ''. Without rewards (DPO, SFT) both are ''."""
    section = config[origin(config, stage)]
    if not kinds.of(section).trained_by_reward:
        return '', ''
    return section.reward, section.judge.model


def check(config: Any, stage: str) -> None:
    """Raises a `UserError` for the first rule of descent that a stage breaks."""
    section = config[stage]
    if kinds.of(section).makes == 'base':
        _check_base(config, stage)
    _check_sft(config, stage)
    _check_alike(config, stage)
    if kinds.of(section).goes_on_from:
        _check_start(config, stage)
    if kinds.of(section).made_of:
        _check_parts(config, stage)
    if 'method' in section:
        _check_average(config, stage)


def _check_base(config, stage):
    """All stages start from one base, in the folder of the stage pretrain."""
    if stage != 'pretrain':
        raise UserError(
            f'{stage}: a stage of kind pretrain must be called pretrain, the name by '
            'which other stages find the base; rename it'
        )
    if earlier(config, stage):
        raise UserError(
            'stages: pretrain makes the base of all others, so it comes first; write '
            f'{",".join([stage, *(x for x in config.stages if x != stage)])}'
        )


def _check_sft(config, stage):
    late = 'sft' in config.stages and 'sft' not in earlier(config, stage)
    if config[stage].get('start') == 'sft' and late:
        raise UserError(
            f'{stage}.start: sft comes after {stage}; name it earlier in stages, or '
            'start from base'
        )


def _check_alike(config, stage):
    """A stage that continues an adapter has its shape; only the dropout may differ."""
    if config[stage].get('start') != 'sft' or 'sft' not in earlier(config, stage):
        return
    wanted, first = (configs.tuning(config[x].tuning, x) for x in (stage, 'sft'))
    if wanted.replaces_base or first.replaces_base or first.alike(wanted):
        return
    # the kernels of target rules are compared when the adapter is read
    free = {'dropout', 'targets', 'b_rate'}
    if wanted.adapter is first.adapter:  # lora and qlora train the same kind of leaf
        free.add('name')
    for field, value in dataclasses.asdict(first).items():
        differs = getattr(wanted, field, None) != value
        if differs and field not in free:
            raise UserError(
                f'{stage}.tuning.{field}: goes on from the adapter of sft, where it is '
                f'{value}, but asks for {getattr(wanted, field, None)}; make the two '
                f'alike, or set {stage}.start to base'
            )


def _check_start(config, stage):
    start, allowed = config[stage].start, kinds.of(config[stage]).goes_on_from
    if start in ('base', 'sft') or fields.is_folder(start):
        return
    known = [x for x in earlier(config, stage) if config[x].kind in allowed]
    if start not in known:
        raise UserError(
            f'{stage}.start: {start!r} is neither base, nor sft, nor an earlier stage '
            f'of kind {", ".join(allowed)}, nor a folder'
            f'{near_miss(start, ["base", "sft", *known])}'
        )


def _check_parts(config, stage):
    of, before = config[stage].of, earlier(config, stage)
    if not of:
        raise UserError(f'{stage}.of: name the earlier stages that it is made of')
    for name in of:
        if name not in before:
            raise UserError(
                f'{stage}.of: {name!r} is not a stage before it'
                f'{near_miss(name, before)}'
            )
    allowed = kinds.of(config[stage]).made_of
    for name in of:
        if config[name].kind not in allowed:
            raise UserError(
                f'{stage}.of: {name} is of kind {config[name].kind}; give stages of '
                f'kind {", ".join(allowed)}'
            )
    if len({makes(config, name) for name in of}) > 1:
        raise UserError(
            f'{stage}.of: some are reward models and some policies; give stages of one '
            'sort'
        )
    if makes(config, stage) == 'reward':
        _same(config, stage, 'loss', 'give reward models of one loss')
    elif 'combine' in config[stage]:
        raise UserError(
            f'{stage}.of: policies cannot be in an ensemble; average them instead'
        )


def _check_average(config, stage):
    section, first = config[stage], config[origin(config, stage)]
    if section.method == 'slerp' and len(section.of) != 2:
        raise UserError(
            f'{stage}.of: slerp needs two stages, and {len(section.of)} are given; '
            'for more, average averages of two'
        )
    if section.method == 'interpolate_to_start' and len(section.of) != 1:
        raise UserError(
            f'{stage}.of: interpolate_to_start needs one stage, and {len(section.of)} '
            'are given; average them first'
        )
    _same(config, stage, 'start', 'only weights with one start can be averaged')
    if makes(config, stage) == 'reward' and first.start in ('base', 'sft'):
        raise UserError(
            f'{stage}.of: {section.of[0]} starts from {first.start} with a random head '
            'of its own, so its weights do not average; train a first reward stage '
            'with head_only=True and start all of them from it'
        )


def _same(config, stage, field, why):
    origins = {name: origin(config, name) for name in config[stage].of}
    values = {name: config[first][field] for name, first in origins.items()}
    if len(set(values.values())) > 1:
        listed = ', '.join(f'{name} has {value}' for name, value in values.items())
        raise UserError(f'{stage}.of: {field} differs ({listed}); {why}')


def how_to_run(config: Any, stage: str) -> str:
    """Tells a person how to train a stage that is not in the run folder."""
    if stage in config.stages:
        return f'run the stage {stage} first (perl.train --stages={stage})'
    stages = ','.join([*config.stages, stage])
    return f'train it first (perl.train --config.stages={stages})'


def earlier(config: Any, stage: str) -> list[str]:
    """The stages that run before a stage."""
    stages = list(config.stages)
    return stages[: stages.index(stage)]
