"""Every rule that a config must keep, checked before anything is read or trained."""

from ml_collections import ConfigDict

from perl import config as configs
from perl.config import lineage, ranges
from perl.losses import kl
from perl.losses.algorithms import ALGORITHMS
from perl.system.errors import UserError
from perl.system.suggest import meant
from perl.training.optimizer import OPTIMIZERS, SCHEDULES

# a stage of each kind as `perl.config` makes it: the fields that one must have
KINDS = {
    **{k: configs.stage_config(k, 1.0) for k in ('pretrain', 'sft', 'reward')},
    'average': configs.average_config(()),
    'ensemble': configs.ensemble_config(()),
    'policy': configs.policy_config(1.0),
    'dpo': configs.dpo_config(1.0),
}


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` for the first rule that the config breaks."""
    defaults = configs.experiment('')
    for name in defaults:
        if name not in config and name not in defaults.stages:
            raise UserError(f'config: it has no {name}; start from experiment()')
    if not config.stages:
        raise UserError('stages: none is named, so there is nothing to do')
    known = configs.known_stages(config)
    for name in config.stages:
        if name not in known:
            raise UserError(
                f'stages: {name!r} is no stage of this config{meant(name, known)}'
            )
        _complete(name, config[name])
    ranges.check(config)
    for name in config.stages:
        _validate_stage(name, config[name])
        lineage.check(config, name)
    if not config.model.path:
        check_window(config, config.model.max_length)
    _choice('tokenizer.kind', config.tokenizer.kind, 'bytes', 'sentencepiece', 'file')
    if config.tokenizer.kind == 'file' and not config.tokenizer.path:
        raise UserError('tokenizer.path: kind "file" needs a path')
    if 'pretrain' in config.stages and config.model.path:
        raise UserError(
            'stages: pretrain makes a base, but model.path gives one; '
            'leave one of the two out'
        )


def check_window(config: ConfigDict, most: int) -> None:
    """Raises a `UserError` unless prompt and response fit in a decoder's window."""
    if config.lengths.prompt + config.lengths.response > most:
        raise UserError(
            f'lengths: prompt {config.lengths.prompt} + response '
            f'{config.lengths.response} is longer than model.max_length {most}; '
            'shorten one or widen the window'
        )


def _complete(name: str, stage: ConfigDict) -> None:
    _choice(f'{name}.kind', stage.kind, *KINDS)
    missing = [field for field in KINDS[stage.kind] if field not in stage]
    if missing:
        raise UserError(
            f'{name}: a stage of kind {stage.kind} has the field {missing[0]!r}, which '
            'is missing; make it with the function of perl.config for that kind'
        )


def _validate_stage(name: str, stage: ConfigDict) -> None:
    if stage.kind == 'average':
        _choice(f'{name}.method', stage.method, *lineage.METHODS)
        return
    if stage.kind != 'ensemble':
        configs.tuning(stage.tuning)
    _choice(f'{name}.optimizer.name', stage.optimizer.name, *OPTIMIZERS)
    _choice(f'{name}.optimizer.schedule', stage.optimizer.schedule, *SCHEDULES)
    if stage.kind in ('sft', 'policy', 'dpo'):
        _choice(f'{name}.start', stage.start, 'base', 'sft')
    rows = stage.batch_size
    if stage.kind == 'policy':
        _validate_policy(name, stage)
        rows //= stage.minibatches
    elif stage.kind == 'reward':
        _validate_reward(name, stage)
    elif stage.kind == 'ensemble':
        _choice(f'{name}.combine', stage.combine, *lineage.COMBINE)
    elif stage.kind == 'pretrain' and not configs.tuning(stage.tuning).replaces_base:
        raise UserError(f'{name}.tuning.name: a base from scratch is tuned in full')
    if rows % stage.micro_batches:
        raise UserError(
            f'{name}.micro_batches: {stage.micro_batches} does not divide {rows} rows'
        )


def _validate_reward(name: str, stage: ConfigDict) -> None:
    _choice(f'{name}.loss', stage.loss, 'bradley_terry', 'pointwise')
    _choice(f'{name}.centre', stage.centre, 'responses', 'demonstrations')
    if stage.loss == 'pointwise' and stage.label_smoothing:
        raise UserError(
            f'{name}.label_smoothing: it is of comparisons; ratings can be any number '
            'in [0, 1] themselves, so set it to 0'
        )


def _validate_policy(name: str, stage: ConfigDict) -> None:
    _choice(f'{name}.algorithm', stage.algorithm, *ALGORITHMS)
    _choice(f'{name}.kl_controller', stage.kl_controller, 'fixed', 'adaptive')
    _choice(f'{name}.kl_estimator', stage.kl_estimator, *kl.FAMILY)
    _choice(f'{name}.kl_in', stage.kl_in, 'reward', 'loss')
    _choice(f'{name}.rater.kind', stage.rater.kind, '', 'endpoint', 'model')
    wanted = {'endpoint': ('url', 'model'), 'model': ('model',), '': ()}
    for field in wanted[stage.rater.kind]:
        if not stage.rater[field]:
            raise UserError(f'{name}.rater.{field}: {stage.rater.kind} needs one')
    _choice(f'{name}.value_start', stage.value_start, 'sft', 'reward', 'base')
    rules, rows = ALGORITHMS[stage.algorithm], stage.batch_size
    if rules.convex and not 0 <= stage.kl_coefficient <= 1:
        raise UserError(
            f'{name}.kl_coefficient: {stage.algorithm} weighs the reward with 1 - '
            f'beta, so beta must be in [0, 1], not {stage.kl_coefficient}'
        )
    if rules.group and stage.samples < 2:
        raise UserError(
            f'{name}.samples: {stage.algorithm} compares responses to one prompt, so '
            f'it needs 2 or more, not {stage.samples}'
        )
    for divisor in ('samples', 'minibatches'):
        if rows % stage[divisor]:
            raise UserError(
                f'{name}.{divisor}: {stage[divisor]} does not divide batch_size {rows}'
            )
    if stage.ptx_coefficient and stage.ptx_batch_size % stage.micro_batches:
        raise UserError(
            f'{name}.ptx_batch_size: {stage.ptx_batch_size} rows are not divisible in '
            f'{stage.micro_batches} micro-batches'
        )
    unregularised = stage.kl_coefficient == 0 or stage.kl_estimator == 'none'
    if unregularised and stage.kl_controller == 'adaptive':
        raise UserError(
            f'{name}.kl_controller: adaptive steers a KL term, but there is none; set '
            'kl_coefficient above 0, or kl_controller to fixed'
        )
    if stage.kl_controller == 'adaptive' and stage.kl_horizon <= 0.2 * rows:
        raise UserError(
            f'{name}.kl_horizon: {stage.kl_horizon} episodes are so few that one batch '
            f'of {rows} could turn the coefficient negative; set it far above that'
        )


def _choice(where: str, value: str, *known: str) -> None:
    if value not in known:
        raise UserError(
            f'{where}: {value!r} is not one of {", ".join(known)}{meant(value, known)}'
        )
