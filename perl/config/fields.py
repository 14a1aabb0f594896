"""What the fields of one stage must be, by kind of stage, beyond their ranges."""

import pathlib

from ml_collections import ConfigDict

from perl.config.sections.tuning import tuning
from perl.data.by_example import SHARE_PROMPTS
from perl.judges.mixture import GATED
from perl.losses import kl
from perl.losses.algorithms import ALGORITHMS
from perl.losses.direct import DIRECT
from perl.system.errors import UserError
from perl.system.suggest import meant, one_of
from perl.training.optimizer import OPTIMIZERS, SCHEDULES

AVERAGES = ('mean', 'slerp', 'interpolate_to_start')
CORRECTIONS = ('none', 'truncated', 'masked')
COMBINATIONS = ('mean', 'min', 'mean_std', *GATED)


def check_pretrain(name: str, stage: ConfigDict) -> None:
    """A base from scratch."""
    _check_steps(name, stage, stage.batch_size)
    if not tuning(stage.tuning, name).replaces_base:
        raise UserError(f'{name}.tuning.name: a base from scratch is tuned in full')


def check_source(name: str, start: str) -> None:
    """Raises a `UserError` unless a start is the base, SFT or an adapter's folder."""
    if start not in ('base', 'sft') and not is_folder(start):
        raise UserError(
            f'{name}.start: {start!r} is neither base nor sft nor the folder of an '
            f'adapter{meant(start, ("base", "sft"))}'
        )


def is_folder(start: str) -> bool:
    """Whether a start is the folder of an adapter, ours or of PEFT."""
    return start not in ('base', 'sft') and pathlib.Path(start).is_dir()


def check_start(name: str, stage: ConfigDict) -> None:
    """A policy that goes on from the base, from SFT or from an adapter."""
    _check_steps(name, stage, stage.batch_size)
    check_source(name, stage.start)


def check_dpo(name: str, stage: ConfigDict) -> None:
    """Direct preference optimisation."""
    check_start(name, stage)
    one_of(f'{name}.loss', stage.loss, *DIRECT)
    one_of(f'{name}.share_prompts', stage.share_prompts, *SHARE_PROMPTS)
    if stage.loss == 'robust' and not stage.label_smoothing:
        raise UserError(
            f'{name}.label_smoothing: robust undoes this share of wrong labels, and '
            'with 0 it is dpo; set it above 0, or the loss to dpo'
        )
    if stage.target_margin and stage.loss in ('ipo', 'orpo'):
        raise UserError(
            f'{name}.target_margin: {stage.loss} has no margin to reach; set it to 0'
        )
    _check_no_dropout(name, stage, 'the loss at the reference would not be ln 2')


def check_reward(name: str, stage: ConfigDict) -> None:
    """A reward model."""
    _check_steps(name, stage, stage.batch_size)
    one_of(f'{name}.loss', stage.loss, 'bradley_terry', 'pointwise')
    one_of(f'{name}.share_prompts', stage.share_prompts, *SHARE_PROMPTS)
    one_of(f'{name}.centre', stage.centre, 'responses', 'demonstrations')
    if stage.loss == 'pointwise' and stage.label_smoothing:
        raise UserError(
            f'{name}.label_smoothing: it is for comparisons; a rating can be any '
            'number in [0, 1] itself, so set it to 0'
        )


def check_average(name: str, stage: ConfigDict) -> None:
    """Averaged weights."""
    one_of(f'{name}.method', stage.method, *AVERAGES)


def check_ensemble(name: str, stage: ConfigDict) -> None:
    """Reward models that score together."""
    one_of(f'{name}.combine', stage.combine, *COMBINATIONS)
    _check_steps(name, stage, stage.batch_size)


def check_policy(name: str, stage: ConfigDict) -> None:
    """Reinforcement learning."""
    check_source(name, stage.start)
    if stage.algorithm == 'dpo':
        raise UserError(
            f'{name}.algorithm: dpo is a kind of stage, not an algorithm of a policy '
            'stage; add a stage that dpo_config makes'
        )
    one_of(f'{name}.algorithm', stage.algorithm, *ALGORITHMS)
    one_of(f'{name}.kl_controller', stage.kl_controller, 'fixed', 'adaptive')
    one_of(f'{name}.kl_estimator', stage.kl_estimator, *kl.FAMILY)
    one_of(f'{name}.kl_in', stage.kl_in, 'reward', 'loss')
    one_of(f'{name}.value_start', stage.value_start, 'sft', 'reward', 'base')
    one_of(f'{name}.sampler_correction', stage.sampler_correction, *CORRECTIONS)
    _check_algorithm(name, stage)
    _check_controller(name, stage)
    _check_no_dropout(
        name, stage, 'the ratio would not be 1 before the first update, nor the KL 0'
    )


def _check_algorithm(name, stage):
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
    _check_steps(name, stage, rows // stage.minibatches)
    if stage.ptx_coefficient and stage.ptx_batch_size % stage.micro_batches:
        raise UserError(
            f'{name}.ptx_batch_size: {stage.ptx_batch_size} rows are not divisible in '
            f'{stage.micro_batches} micro-batches'
        )


def _check_controller(name, stage):
    if stage.kl_controller != 'adaptive':
        return
    if stage.kl_coefficient == 0 or stage.kl_estimator == 'none':
        raise UserError(
            f'{name}.kl_controller: adaptive steers a KL term, but there is none; set '
            'kl_coefficient above 0, or kl_controller to fixed'
        )
    if stage.kl_horizon <= 0.2 * stage.batch_size:
        raise UserError(
            f'{name}.kl_horizon: {stage.kl_horizon} episodes are so few that one batch '
            f'of {stage.batch_size} could turn the coefficient negative; set it far '
            'above that'
        )


def _check_no_dropout(name, stage, why):
    rate = tuning(stage.tuning, name).dropout
    if rate:
        raise UserError(
            f'{name}.tuning.dropout: {rate} must be 0, because with dropout {why}; '
            'stages before it may have dropout'
        )


def _check_steps(name, stage, rows):
    """The fields that every stage with an optimizer has."""
    if 'tuning' in stage:
        tuning(stage.tuning, name)
    one_of(f'{name}.optimizer.name', stage.optimizer.name, *OPTIMIZERS)
    one_of(f'{name}.optimizer.schedule', stage.optimizer.schedule, *SCHEDULES)
    if rows % stage.micro_batches:
        raise UserError(
            f'{name}.micro_batches: {stage.micro_batches} does not divide {rows} rows'
        )
