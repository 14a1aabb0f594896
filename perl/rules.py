"""Every rule that a config must keep, checked before anything is read or trained."""

import math

from ml_collections import ConfigDict

from perl.config import tuning
from perl.data.near import meant
from perl.errors import UserError
from perl.losses import kl
from perl.stages import lineage
from perl.stages.algorithms import ALGORITHMS
from perl.stages.optimizer import OPTIMIZERS, SCHEDULES

# what numbers of a stage, and of its optimizer, may be; an infinity is none of them
POSITIVE = (
    *('steps', 'batch_size', 'parts', 'save_every', 'epochs', 'minibatches', 'samples'),
    *('temperature', 'clip', 'value_clip', 'value_learning_rate', 'beta'),
    *('kl_target', 'kl_horizon', 'ptx_batch_size'),
)
FROM_0 = (
    *('eval_every', 'shuffle', 'value_warmup', 'value_coefficient', 'clip_rewards'),
    *('kl_coefficient', 'ptx_coefficient', 'deviations', 'balance'),
)
SHARES = ('gamma', 'lam', 'anchor_rate')
KINDS = ('pretrain', 'sft', 'reward', 'average', 'ensemble', 'policy', 'dpo')


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` for the first rule that the config breaks."""
    for name in config.stages:
        if name not in config:
            raise UserError(
                f'stages: {name!r} is no stage of this config{meant(name, config)}'
            )
        _validate_stage(name, config[name])
        lineage.check(config, name)
    _positive('lengths', config.lengths, 'prompt', 'response')
    _positive('evaluation', config.evaluation, 'prompts', 'batch_size')
    if config.lengths.prompt + config.lengths.response > config.model.max_length:
        raise UserError(
            f'lengths: prompt {config.lengths.prompt} + response '
            f'{config.lengths.response} is longer than model.max_length '
            f'{config.model.max_length}; shorten one or widen the window'
        )
    _choice('tokenizer.kind', config.tokenizer.kind, 'bytes', 'sentencepiece', 'file')
    if config.tokenizer.kind == 'file' and not config.tokenizer.path:
        raise UserError('tokenizer.path: kind "file" needs a path')
    if 'pretrain' in config.stages and config.model.path:
        raise UserError(
            'stages: pretrain makes a base, but model.path gives one; '
            'leave one of the two out'
        )


def _validate_stage(name: str, stage: ConfigDict) -> None:
    _choice(f'{name}.kind', stage.kind, *KINDS)
    if stage.kind == 'average':
        _choice(f'{name}.method', stage.method, *lineage.METHODS)
        return
    if stage.kind != 'ensemble':
        _validate_tuning(name, stage)
    _choice(f'{name}.optimizer.name', stage.optimizer.name, *OPTIMIZERS)
    _choice(f'{name}.optimizer.schedule', stage.optimizer.schedule, *SCHEDULES)
    _positive(f'{name}.optimizer', stage.optimizer, 'learning_rate', 'eps')
    _from_0(f'{name}.optimizer', stage.optimizer, 'warmup', 'weight_decay', 'clip')
    _shares(f'{name}.optimizer', stage.optimizer, 'final', 'b1', 'b2')
    _positive(name, stage, *(x for x in POSITIVE if x in stage))
    _from_0(name, stage, *(x for x in FROM_0 if x in stage))
    _shares(name, stage, *(x for x in SHARES if x in stage))
    if stage.kind in ('sft', 'policy', 'dpo'):
        _choice(f'{name}.start', stage.start, 'base', 'sft')
    rows = stage.batch_size
    if stage.kind == 'policy':
        _validate_policy(name, stage)
        rows //= stage.minibatches
    elif stage.kind == 'dpo':
        if not 0 <= stage.label_smoothing < 0.5:
            raise UserError(f'{name}.label_smoothing: must be in [0, 0.5)')
    elif stage.kind == 'reward':
        _validate_reward(name, stage)
    elif stage.kind == 'ensemble':
        _choice(f'{name}.combine', stage.combine, *lineage.COMBINE)
    elif stage.kind == 'pretrain' and stage.tuning.name != 'full':
        raise UserError(f'{name}.tuning.name: a base from scratch is tuned in full')
    if rows % stage.parts:
        raise UserError(f'{name}.parts: {stage.parts} does not divide {rows} rows')


def _validate_tuning(name: str, stage: ConfigDict) -> None:
    tuning(stage.tuning)
    if stage.tuning.name == 'lora':
        _positive(f'{name}.tuning', stage.tuning, 'rank', 'alpha')
        if not 0 <= stage.tuning.dropout < 1:
            raise UserError(f'{name}.tuning.dropout: must be in [0, 1)')


def _validate_reward(name: str, stage: ConfigDict) -> None:
    _choice(f'{name}.loss', stage.loss, 'bradley_terry', 'pointwise')
    _choice(f'{name}.centre', stage.centre, 'responses', 'demonstrations')
    if not 0 <= stage.label_smoothing < 0.5:
        raise UserError(f'{name}.label_smoothing: must be in [0, 0.5)')
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
    if stage.ptx_coefficient and stage.ptx_batch_size % stage.parts:
        raise UserError(
            f'{name}.ptx_batch_size: {stage.ptx_batch_size} rows are not divisible in '
            f'{stage.parts} parts'
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


def _positive(where: str, config: ConfigDict, *names: str) -> None:
    for name in names:
        if not (config[name] > 0 and math.isfinite(config[name])):
            raise UserError(f'{where}.{name}: {config[name]} must be greater than 0')


def _from_0(where: str, config: ConfigDict, *names: str) -> None:
    for name in names:
        if not (config[name] >= 0 and math.isfinite(config[name])):
            raise UserError(f'{where}.{name}: {config[name]} must be 0 or more')


def _shares(where: str, config: ConfigDict, *names: str) -> None:
    for name in names:
        if not 0 <= config[name] <= 1:
            raise UserError(f'{where}.{name}: {config[name]} must be in [0, 1]')
