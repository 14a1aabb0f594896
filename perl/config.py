"""Experiments as locked configs, and every rule that one must keep.

A config file is one experiment on one dataset: `get_config(arg=None)` returns the
`ConfigDict` that `experiment()` starts, with what the dataset wants changed.
"""

import difflib
import json
from typing import Any

from ml_collections import ConfigDict

from perl.adapters import tuning as tunings
from perl.adapters.tuning import ATTENTION, Full, LoraTuning, Tuning
from perl.errors import UserError
from perl.losses import kl
from perl.models.architecture import Architecture
from perl.stages.algorithms import ALGORITHMS
from perl.stages.optimizer import OPTIMIZERS, SCHEDULES

_FLAGS = {'': True, 'true': True, '1': True, 'false': False, '0': False}


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """`'tuning=lora,rank=4'` as values of the types of the defaults.

    Raises:
        UserError: an unknown argument or a value of another type.
    """
    values = dict(defaults)
    for part in (arg or '').split(','):
        if not part:
            continue
        name, _, text = part.partition('=')
        if name not in defaults:
            raise UserError(
                f'config argument {name!r} is unknown{near(name, defaults)}; there are '
                f'{", ".join(defaults)}'
            )
        kind = type(defaults[name])
        try:
            values[name] = _FLAGS[text] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise UserError(
                f'config argument {name}={text!r} should be a {kind.__name__}'
            ) from None
    return ConfigDict(values)


def tuning_config(name: str = 'lora', rank: int = 8, **changes: Any) -> ConfigDict:
    """What is trained; the LoRA fields are ignored by `full`."""
    return ConfigDict(
        {
            'name': name,  # full | lora
            'rank': rank,
            'alpha': float(rank),  # the product is scaled by alpha / rank
            'rank_stabilised': False,  # alpha / sqrt(rank) instead
            'dropout': 0.0,  # on the adapter's input
            'targets': ATTENTION,  # ordered rules, 'pattern' or 'pattern:rank'
            **changes,
        }
    )


def optimizer_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """AdamW or Adafactor with a schedule."""
    return ConfigDict(
        {
            'name': 'adamw',  # adamw | adafactor
            'learning_rate': learning_rate,
            'schedule': 'cosine',  # constant | linear | cosine
            'warmup': 10,  # steps
            'final': 0.1,  # of the learning rate, at the last step
            'b1': 0.9,
            'b2': 0.999,
            'eps': 1e-8,
            'weight_decay': 0.0,
            'clip': 1.0,  # global norm of the gradient; 0 clips nothing
            **changes,
        }
    )


def stage_config(kind: str, learning_rate: float, **changes: Any) -> ConfigDict:
    """A supervised stage: pretrain, sft, reward or dpo."""
    config = ConfigDict(
        {
            'kind': kind,
            'tuning': tuning_config(),
            'optimizer': optimizer_config(learning_rate),
            'start': 'base',  # base | sft: what the stage's delta starts from
            'steps': 100,
            'batch_size': 32,  # examples of a step, on all devices together
            'parts': 1,  # the batch is taken in this many parts
            'eval_every': 50,  # steps; 0 evaluates at the end only
            'save_every': 50,  # steps
            'keep_best': False,  # by the validation figure, instead of the last
        }
    )
    if kind == 'reward':
        config.loss = 'bradley_terry'  # bradley_terry | pointwise
        config.share_prompts = False  # encode the prompt of a comparison once
    config.update(changes)
    return config


def dpo_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """A policy from comparisons alone (arXiv 2305.18290)."""
    config = stage_config('dpo', learning_rate, start='sft')
    config.beta = 0.1  # the price of a nat
    config.label_smoothing = 0.0  # the share of labels taken to be wrong
    config.reward = 'reward'  # the stage whose reward model judges the result
    config.update(changes)
    return config


def policy_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """Reinforcement learning of the policy against the reward model."""
    config = ConfigDict(
        {
            'kind': 'policy',
            'algorithm': 'ppo',  # ppo | reinforce | rloo | grpo | best_of_n
            'tuning': tuning_config(),
            'optimizer': optimizer_config(learning_rate, schedule='constant'),
            'value_learning_rate': learning_rate,
            'start': 'sft',
            'value_start': 'sft',  # sft | reward | base
            'value_warmup': 0,  # first iterations, in which the value alone learns
            'reward': 'reward',  # the stage whose adapter rewards, or a folder
            'steps': 50,  # iterations of rollout and update
            'batch_size': 64,  # episodes of an iteration
            'samples': 1,  # responses to each prompt; rloo, grpo, best_of_n need 2
            'epochs': 2,
            'minibatches': 2,
            'parts': 1,
            'temperature': 1.0,
            'kl_coefficient': 0.05,  # beta; 0 runs no reference at all
            'kl_estimator': 'k1',  # what beta prices: see perl/losses/kl.py
            'kl_in': 'reward',  # reward | loss
            'kl_controller': 'fixed',  # fixed | adaptive
            'kl_target': 6.0,  # nats an episode
            'kl_horizon': 10000.0,  # episodes
            'anchor_rate': 0.0,  # of the reference towards the policy (WARP: 0.01)
            'gamma': 1.0,
            'lam': 0.95,
            'clip': 0.2,
            'value_clip': 0.2,
            'value_coefficient': 0.1,
            'entropy_coefficient': 0.0,
            'whiten_advantages': True,
            'whiten_rewards': False,  # of tokens, their mean left as it is
            'scale_rewards': False,  # by their running standard deviation
            'clip_rewards': 0.0,  # at +- this; 0 clips nothing
            'missing_eos_penalty': 1.0,  # taken off the reward of a cut response
            'ptx_coefficient': 0.0,  # gamma of PPO-ptx: text in every update
            'ptx_batch_size': 32,  # rows of text of an update
            'save_every': 10,
            'eval_every': 0,
        }
    )
    config.update(changes)
    return config


def experiment(name: str) -> ConfigDict:
    """The whole tree with its defaults; a config file changes what it must."""
    return ConfigDict(
        {
            'name': name,
            'seed': 0,
            'stages': ('pretrain', 'sft', 'reward', 'policy'),
            'model': {
                'path': '',  # a saved base or a llama2.c file; '' pre-trains one
                'width': 128,
                'layers': 4,
                'heads': 4,
                'kv_heads': 4,
                'head_width': 32,
                'hidden': 344,
                'max_length': 512,
                'tied': True,
                'dtype': 'float32',  # of compute and of the frozen base
                'scan': False,  # one compiled layer: for deep models
                'remat': False,  # recompute layers in the backward pass
            },
            'tokenizer': {
                'kind': 'sentencepiece',  # bytes | sentencepiece | file
                'path': '',  # of kind file
                'size': 512,  # of a trained sentencepiece vocabulary
            },
            'data': {'name': 'reservations'},
            'lengths': {'prompt': 64, 'response': 32},  # tokens, bos and eos included
            'mesh': {'data': 1, 'fsdp': 1, 'tensor': 1},
            'pretrain': stage_config(
                'pretrain', 3e-3, tuning={'name': 'full'}, steps=400
            ),
            'sft': stage_config('sft', 1e-3),
            'reward': stage_config('reward', 1e-3, start='sft'),
            'policy': policy_config(1e-3),
            'evaluation': {
                'prompts': 256,  # held out, for rewards and win rates
                'temperature': 1.0,
                'batch_size': 64,
            },
            'tensorboard': False,
        }
    )


def architecture(config: ConfigDict, vocabulary: int) -> Architecture:
    """The decoder of a config that has no `model.path`."""
    fields = {k: v for k, v in config.model.items() if k != 'path'}
    return Architecture(vocabulary=vocabulary, **fields)


def tuning(config: ConfigDict) -> Tuning:
    """The tuning of a stage."""
    if config.name == 'full':
        return Full()
    if config.name == 'lora':
        return LoraTuning(**{**config, 'targets': tuple(config.targets)})
    raise UserError(f'tuning.name: {config.name!r} is not one of full, lora')


def coverage(config: ConfigDict, leaves: Any) -> str:
    """One line: which matrices a stage trains and what share that is."""
    return tunings.coverage(tuning(config), leaves)


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` for the first rule that the config breaks."""
    for name in config.stages:
        if name not in config:
            raise UserError(
                f'stages: {name!r} is no stage of this config{near(name, config)}'
            )
        _validate_stage(name, config[name])
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
    _choice(f'{name}.kind', stage.kind, 'pretrain', 'sft', 'reward', 'policy', 'dpo')
    tuning(stage.tuning)
    if stage.tuning.name == 'lora':
        _positive(f'{name}.tuning', stage.tuning, 'rank', 'alpha')
        if not 0 <= stage.tuning.dropout < 1:
            raise UserError(f'{name}.tuning.dropout: must be in [0, 1)')
    _choice(f'{name}.optimizer.name', stage.optimizer.name, *OPTIMIZERS)
    _choice(f'{name}.optimizer.schedule', stage.optimizer.schedule, *SCHEDULES)
    _positive(f'{name}.optimizer', stage.optimizer, 'learning_rate')
    _positive(name, stage, 'steps', 'batch_size', 'parts', 'save_every')
    if stage.kind != 'pretrain':
        _choice(f'{name}.start', stage.start, 'base', 'sft')
    rows = stage.batch_size
    if stage.kind == 'policy':
        _validate_policy(name, stage)
        rows //= stage.minibatches
    elif stage.kind == 'dpo':
        _positive(name, stage, 'beta')
        if not 0 <= stage.label_smoothing < 0.5:
            raise UserError(f'{name}.label_smoothing: must be in [0, 0.5)')
    elif stage.kind == 'reward':
        _choice(f'{name}.loss', stage.loss, 'bradley_terry', 'pointwise')
    elif stage.kind == 'pretrain' and stage.tuning.name != 'full':
        raise UserError(f'{name}.tuning.name: a base from scratch is tuned in full')
    if rows % stage.parts:
        raise UserError(f'{name}.parts: {stage.parts} does not divide {rows} rows')


def _validate_policy(name: str, stage: ConfigDict) -> None:
    _choice(f'{name}.algorithm', stage.algorithm, *ALGORITHMS)
    _choice(f'{name}.kl_controller', stage.kl_controller, 'fixed', 'adaptive')
    _choice(f'{name}.kl_estimator', stage.kl_estimator, *kl.FAMILY)
    _choice(f'{name}.kl_in', stage.kl_in, 'reward', 'loss')
    _choice(f'{name}.value_start', stage.value_start, 'sft', 'reward', 'base')
    _positive(name, stage, 'epochs', 'minibatches', 'samples', 'temperature', 'clip')
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
    if not 0 <= stage.anchor_rate <= 1:
        raise UserError(f'{name}.anchor_rate: must be in [0, 1]')
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


def near(name: str, known) -> str:
    """`'; did you mean x?'` where something known is near, else nothing."""
    match = difflib.get_close_matches(name, list(known), 1)
    return f'; did you mean {match[0]!r}?' if match else ''


def to_json(config: ConfigDict) -> dict:
    """The resolved config as plain JSON values."""
    return json.loads(config.to_json_best_effort())


def differences(old: Any, new: Any, path: str = '') -> list[str]:
    """Where two JSON trees differ, one line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for name in sorted(old.keys() | new.keys()):
            where = f'{path}.{name}' if path else name
            lines += differences(old.get(name), new.get(name), where)
        return lines
    return [] if old == new else [f'{path}: was {old!r}, is {new!r}']


def _choice(where: str, value: str, *known: str) -> None:
    if value not in known:
        raise UserError(
            f'{where}: {value!r} is not one of {", ".join(known)}{near(value, known)}'
        )


def _positive(where: str, config: ConfigDict, *names: str) -> None:
    for name in names:
        if not config[name] > 0:
            raise UserError(f'{where}.{name}: {config[name]} must be greater than 0')
