"""Experiments as locked configs; `rules.py` has what one must keep.

A config file is one experiment on one dataset: `get_config(arg=None)` returns the
`ConfigDict` that `experiment()` starts, with what the dataset wants changed.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from perl.adapters import tunings
from perl.adapters.targets import ATTENTION
from perl.adapters.tunings import Tuning
from perl.models import families
from perl.models.architecture import Architecture
from perl.system.errors import UserError
from perl.system.suggest import meant

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
                f'config argument {name!r} is unknown{meant(name, defaults)}; there '
                f'are {", ".join(defaults)}'
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
    """What is trained.

    Args:
        name: full, lora, or `module:class` of your own.
        rank: of LoRA; `full` ignores the LoRA fields.
        **changes: other fields.
    """
    if ':' in name:
        fields = dataclasses.fields(tunings.kind_named(name))
        defaults = {f.name: f.default for f in fields}
        return ConfigDict({**defaults, **changes, 'name': name})
    return ConfigDict(
        {
            'name': name,  # full | lora | module:class
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
            'final': 0.1,  # of the learning rate, at the last update
            'b1': 0.9,
            'b2': 0.999,
            'eps': 1e-8,
            # of kernels, embeddings and LoRA factors; norms, biases and scalar heads
            # never decay
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
            'steps': 100,
            'batch_size': 32,  # examples of a step, on all devices together
            'micro_batches': 1,  # slices of a batch, one after the other
            'eval_every': 50,  # steps; 0 evaluates at the end only
            'save_every': 50,  # steps
        }
    )
    if kind != 'pretrain':
        # what the stage's delta starts from: base | sft; a reward model also from an
        # earlier one, whose head and adapters it goes on with
        config.start = 'base'
    if kind in ('reward', 'dpo'):
        config.keep_best = False  # by the validation figure, instead of the last
    if kind == 'reward':
        config.loss = 'bradley_terry'  # bradley_terry | pointwise
        config.share_prompts = False  # encode the prompt of a comparison once
        config.margins = True  # take those of the comparisons, where they have some
        config.label_smoothing = 0.0  # the share of labels taken to be wrong
        config.centre = 'responses'  # responses | demonstrations: what rewards 0
        config.head_only = False  # a linear probe: the adapters stay as they start
        config.shuffle = 0  # another number, another order of the data
    config.update(changes)
    return config


def average_config(of: Sequence[str], **changes: Any) -> ConfigDict:
    """The weights of earlier stages averaged (WARM, arXiv 2401.12187; WARP, arXiv
    2406.16768); reward models must start from one that has their common head."""
    return ConfigDict(
        {
            'kind': 'average',
            'of': tuple(of),  # stages before this one
            'method': 'mean',  # mean | slerp (of two) | interpolate_to_start (of one)
            'weight': 0.5,  # of slerp's second stage; of the stage, not its start
            'rank': 0,  # of the average; 0 adds up the ranks, and is exact
            **changes,
        }
    )


def ensemble_config(
    of: Sequence[str], learning_rate: float = 1e-3, **changes: Any
) -> ConfigDict:
    """Reward models that judge together; all but `combine` and `deviations` is about
    training the gates of a mixture (MoLE, arXiv 2404.13628)."""
    config = ConfigDict(
        {
            'kind': 'ensemble',
            'of': tuple(of),  # reward models before this one
            'combine': 'mean',  # mean | min | mean_std | gate | mole
            'deviations': 1.0,  # that mean_std takes off the mean
            'balance': 0.5,  # what it costs the gate to neglect a member
            'optimizer': optimizer_config(learning_rate),
            'steps': 100,
            'batch_size': 32,
            'micro_batches': 1,
            'eval_every': 50,
            'save_every': 50,
        }
    )
    config.update(changes)
    return config


def dpo_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """A policy from comparisons alone (arXiv 2305.18290)."""
    config = stage_config('dpo', learning_rate, start='sft')
    config.beta = 0.1  # the price of a nat
    config.label_smoothing = 0.0  # the share of labels taken to be wrong
    config.reward = 'reward'  # scores the result: as that of a policy stage, but for
    # endpoint and model
    config.update(changes)
    return config


# what an algorithm's paper takes for granted
_CUSTOMS = {
    'rloo': {'samples': 4},
    'grpo': {'samples': 4, 'kl_in': 'loss', 'kl_estimator': 'k3'},
    'best_of_n': {'samples': 4},
}


def policy_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """Reinforcement learning of the policy against the reward model.

    An `algorithm` among the changes brings its customs with it: four responses to a
    prompt where it compares them, and for GRPO k3 in the loss.
    """
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
            # who rewards: a stage or folder of reward models, module:function, gold, or
            # a language model that scores 1 to 10 (d-RLAIF): endpoint | model
            'reward': 'reward',
            'judge': {'model': '', 'url': '', 'key_env': ''},  # of endpoint | model
            'steps': 50,  # iterations of rollout and update
            'batch_size': 64,  # episodes of an iteration
            'samples': 1,  # responses to each prompt; rloo, grpo, best_of_n: 4
            'epochs': 2,
            'minibatches': 2,
            'micro_batches': 1,
            'temperature': 1.0,
            'kl_coefficient': 0.05,  # beta; 0 runs no reference at all
            'kl_estimator': 'k1',  # what beta prices: see perl/losses/kl.py
            'kl_in': 'reward',  # reward | loss
            'kl_controller': 'fixed',  # fixed | adaptive
            'kl_target': 6.0,  # nats an episode
            'kl_horizon': 10000.0,  # episodes
            'ema_rate': 0.0,  # of the reference towards the policy (WARP: 0.01)
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
    config.update(_CUSTOMS.get(changes.get('algorithm'), {}))
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
                'family': 'llama',  # of a base to pre-train; module:name of your own
                'width': 128,
                'layers': 4,
                'heads': 4,
                'kv_heads': 4,
                'head_width': 32,
                'hidden': 344,
                'max_length': 512,
                'tied': True,
                'dtype': 'float32',  # of compute and of the frozen base
                # of float32 products on GPU and TPU: highest | default, which rounds
                # the operands (TF32, bfloat16) and is faster
                'precision': 'highest',
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


def known_stages(config: Mapping[str, Any] | ConfigDict) -> list[str]:
    """The sections that are stages, whether they are to run or not."""
    sections = [x for x in config if hasattr(config[x], 'keys')]
    # a tokenizer is of a kind too
    return [x for x in sections if 'kind' in config[x] and x != 'tokenizer']


def architecture(config: ConfigDict, vocabulary: int) -> Architecture:
    """The decoder of a config that has no `model.path`."""
    sizes = {k: v for k, v in config.model.items() if k not in ('path', 'family')}
    family = families.family_named(config.model.family)
    return family.architecture(vocabulary=vocabulary, **sizes)


def tuning(config: ConfigDict) -> Tuning:
    """The tuning of a stage's section `tuning`."""
    return tunings.create(config)


def coverage(config: ConfigDict, leaves: Any) -> str:
    """One line: which matrices a stage trains and what share that is."""
    return tuning(config).coverage(leaves)


def to_json(config: ConfigDict) -> dict:
    """The resolved config as plain JSON values."""
    return json.loads(config.to_json_best_effort())
