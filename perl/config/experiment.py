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
            'name': name,  # full | lora | module:class; full reads no other field
            'rank': rank,  # of the LoRA factors
            'alpha': float(
                rank
            ),  # the product of the factors is scaled by alpha / rank
            'rank_stabilised': False,  # scales by alpha / sqrt(rank) instead (rsLoRA)
            # rate on the input of an adapter while training; 0 in policy and dpo stages
            'dropout': 0.0,
            # which kernels get adapters: regular expressions of paths, the first that
            # matches counts; `pattern:rank` gives another rank, and rank 0 none
            'targets': ATTENTION,
            **changes,
        }
    )


def optimizer_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """AdamW or Adafactor with a schedule."""
    return ConfigDict(
        {
            'name': 'adamw',  # adamw | adafactor
            'learning_rate': learning_rate,  # its largest value
            'schedule': 'cosine',  # after the warmup: constant | linear | cosine
            'warmup': 10,  # updates in which the learning rate rises
            'final': 0.1,  # share of the learning rate that the last update has
            'b1': 0.9,  # decay of AdamW's mean of gradients
            'b2': 0.999,  # decay of AdamW's mean of squared gradients
            'eps': 1e-8,  # added to the denominator of AdamW
            # decoupled from the gradient; of kernels, embeddings and LoRA factors, but
            # not of norms, biases and scalar heads
            'weight_decay': 0.0,
            'clip': 1.0,  # largest global norm of the gradient; 0 clips nothing
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
            'steps': 100,  # updates
            'batch_size': 32,  # examples of an update, on all devices together
            # parts that a batch is computed in, one after the other, to save memory
            'micro_batches': 1,
            'eval_every': 50,  # steps between evaluations; 0 evaluates at the end only
            'save_every': 50,  # steps between checkpoints
        }
    )
    if kind != 'pretrain':
        # what the stage goes on from: base | sft; a reward stage also from an earlier
        # one, with its head and adapters
        config.start = 'base'
    if kind in ('reward', 'dpo'):
        # keeps the weights with the best validation figure instead of the last ones
        config.keep_best = False
    if kind == 'reward':
        # bradley_terry, on comparisons | pointwise, on ratings
        config.loss = 'bradley_terry'
        # encodes the prompt of a comparison once for all its completions
        config.share_prompts = False
        config.margins = True  # takes the margins of comparisons that have some
        config.label_smoothing = 0.0  # share of the labels that is taken to be wrong
        # whose rewards are 0 on average: responses | demonstrations, of validation
        config.centre = 'responses'
        config.head_only = False  # trains the head alone: a linear probe
        config.shuffle = 0  # another number gives another order of the data
    config.update(changes)
    return config


def average_config(of: Sequence[str], **changes: Any) -> ConfigDict:
    """The weights of earlier stages averaged (WARM, arXiv 2401.12187; WARP, arXiv
    2406.16768); reward models must start from one that has their common head."""
    return ConfigDict(
        {
            'kind': 'average',
            'of': tuple(of),  # the earlier stages that are averaged
            # mean | slerp, of two stages | interpolate_to_start, of one
            'method': 'mean',
            # of the second stage in slerp; of the stage against its start in
            # interpolate_to_start; mean does not read it
            'weight': 0.5,
            'rank': 0,  # of the average; 0 adds up the ranks and is exact
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
            'of': tuple(of),  # the earlier reward models
            'combine': 'mean',  # mean | min | mean_std | gate | mole
            'deviations': 1.0,  # mean_std is the mean less so many standard deviations
            'balance': 0.5,  # weight of the load-balancing loss of gate and mole
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
    config.beta = 0.1  # strength of the KL penalty
    config.label_smoothing = 0.0  # share of the labels that is taken to be wrong
    # who scores the result: as in a policy stage, but neither endpoint nor model
    config.reward = 'reward'
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
            'value_learning_rate': learning_rate,  # of the value function
            'start': 'sft',  # what the policy goes on from: base | sft
            'value_start': 'sft',  # what the value goes on from: sft | reward | base
            'value_warmup': 0,  # first iterations, which train the value alone
            # who rewards: a stage or folder of reward models, module:function, gold, or
            # a language model that scores 1 to 10 (d-RLAIF): endpoint | model
            'reward': 'reward',
            'judge': {
                'model': '',  # name on the endpoint; of `model` a stage, folder or base
                'url': '',  # address of the endpoint, such as http://host:8000/v1
                'key_env': '',  # the environment variable that holds its key
            },
            'steps': 50,  # iterations of rollout and update
            'batch_size': 64,  # episodes of an iteration
            'samples': 1,  # responses to each prompt; 4 for rloo, grpo and best_of_n
            'epochs': 2,  # passes over the episodes of an iteration
            'minibatches': 2,  # updates of a pass
            # parts that a minibatch is computed in, one after the other, to save memory
            'micro_batches': 1,
            'temperature': 1.0,  # of sampling, and of all log-probabilities
            'kl_coefficient': 0.05,  # beta, strength of the KL penalty; 0 is none
            # k1 | k2 | k3 | full | none | …: which KL term; see docs/algorithms.md
            'kl_estimator': 'k1',
            'kl_in': 'reward',  # where the KL term is: reward | loss
            'kl_controller': 'fixed',  # of beta: fixed | adaptive
            'kl_target': 6.0,  # nats an episode that an adaptive beta aims at
            'kl_horizon': 10000.0,  # episodes in which an adaptive beta corrects
            # share by which the reference follows the policy in an iteration; WARP has
            # 0.01
            'ema_rate': 0.0,
            'gamma': 1.0,  # discount of later rewards
            'lam': 0.95,  # lambda of generalised advantage estimation
            'clip': 0.2,  # the ratio is clipped to 1 - clip and 1 + clip
            'value_clip': 0.2,  # largest change of a value that its loss rewards
            'value_coefficient': 0.1,  # weight of the value loss
            'entropy_coefficient': 0.0,  # weight of an entropy bonus
            'whiten_advantages': True,  # to mean 0 and deviation 1 over a batch
            'whiten_rewards': False,  # to deviation 1 over the tokens of a batch
            'scale_rewards': False,  # divides rewards by their running deviation
            'clip_rewards': 0.0,  # limits rewards to -this and +this; 0 does not
            'missing_eos_penalty': 1.0,  # taken off where a response does not end
            'ptx_coefficient': 0.0,  # weight of a loss on text in each update (PPO-ptx)
            'ptx_batch_size': 32,  # rows of text of an update
            'save_every': 10,  # iterations between checkpoints
            # iterations between samples for samples.jsonl; 0 samples at the end only
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
            'name': name,  # of the experiment; a run's folder is runs/NAME
            'seed': 0,  # of everything that is drawn
            'stages': ('pretrain', 'sft', 'reward', 'policy'),  # to run, in order
            'model': {
                # a base, ours or foreign (docs/models.md); '': what pretrain makes
                'path': '',
                # of a base to pre-train; module:name for one of your own
                'family': 'llama',
                'width': 128,  # of the residual stream
                'layers': 4,  # transformer blocks
                'heads': 4,  # query heads
                'kv_heads': 4,  # key and value heads; a divisor of heads
                'head_width': 32,  # of a head; even
                'hidden': 344,  # width of the MLP
                'max_length': 512,  # the window: prompt and response, in tokens
                'tied': True,  # the output layer is the embedding
                # of computation and of the frozen base: float32 | bfloat16 | float16
                'dtype': 'float32',
                # of float32 products on accelerators: highest | default, which rounds
                # the operands (TF32, bfloat16) and is faster
                'precision': 'highest',
                'scan': False,  # compiles one layer for all: for deep models
                'remat': False,  # recomputes layers in the backward pass: less memory
            },
            'tokenizer': {
                # bytes | sentencepiece, trained on the text | file
                'kind': 'sentencepiece',
                'path': '',  # of kind file: a tokenizer, or its folder; '': the base's
                'size': 512,  # vocabulary of a trained sentencepiece
            },
            'data': {
                'name': 'reservations',  # the reader, or module:function of your own
            },
            'lengths': {
                'prompt': 64,  # tokens; a longer prompt loses its beginning
                'response': 32,  # tokens; a longer response loses its end
            },
            'mesh': {
                'data': 1,  # devices along the batch; -1 takes all that are left
                'fsdp': 1,  # devices along the batch that share the weights too
                'tensor': 1,  # devices that share heads and hidden units
            },
            'pretrain': stage_config(
                'pretrain', 3e-3, tuning={'name': 'full'}, steps=400
            ),
            'sft': stage_config('sft', 1e-3),
            'reward': stage_config('reward', 1e-3, start='sft'),
            'policy': policy_config(1e-3),
            'evaluation': {
                'prompts': 256,  # held-out prompts for rewards and win rates
                'temperature': 1.0,  # of sampling
                'batch_size': 64,  # prompts that are sampled together
            },
            'tensorboard': False,  # writes event files beside metrics.jsonl
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
