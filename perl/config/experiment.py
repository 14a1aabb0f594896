"""Experiments as locked configs; `rules.py` has what one must keep.

A config file is one experiment on one dataset: `get_config(arg=None)` returns the
`ConfigDict` that `experiment()` starts, with the changes for the dataset. The
sections of stages are in `sections/`.
"""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from perl.config import kinds
from perl.config.sections.policy import policy_config
from perl.config.sections.stage import stage_config
from perl.config.sections.tuning import tuning
from perl.models import families
from perl.models.architecture import Architecture
from perl.system.errors import UserError


def experiment(name: str) -> ConfigDict:
    """The whole tree with its defaults; a config file changes some of them."""
    return ConfigDict(
        {
            'name': name,  # a run's folder is runs/NAME
            'seed': 0,  # random seed of the whole run
            'stages': ('pretrain', 'sft', 'reward', 'policy'),  # what runs, in order
            'model': {
                'path': '',  # base model (docs/models.md); '' for that of pretrain
                # family of a base model to pre-train, or module:name of your own
                'family': 'llama',
                'width': 128,  # numbers of the residual stream
                'layers': 4,  # transformer blocks
                'heads': 4,  # query heads
                'kv_heads': 4,  # key and value heads; a divisor of heads
                'head_width': 32,  # numbers of one head; an even number
                'hidden': 344,  # width of the MLP
                'max_length': 512,  # tokens of prompt and response together: the window
                'tied': True,  # whether the output layer is the embedding
                'dtype': 'float32',  # auto, by machine | float32 | bfloat16 | float16
                # of float32 products: highest | default, which rounds the operands on
                # GPU and TPU | bfloat16, which rounds them everywhere; both are faster
                'precision': 'highest',
                'quantization': 'none',  # of the base: none | nf4 | int4 | int8 | fp8
                'attention': 'auto',  # auto, by platform | plain | cudnn | splash
                'scan': False,  # compiles one layer for all: for deep models
                'remat': False,  # recomputes layers in the backward pass: less memory
            },
            'tokenizer': {
                # bytes | sentencepiece, trained on the text | file
                'kind': 'sentencepiece',
                'path': '',  # a tokenizer's file or folder; '': the base brings it
                'size': 512,  # vocabulary of a sentencepiece that is trained
                'chat': 'messages',  # its template renders: messages | all (texts too)
                'chat_template': '',  # a file of jinja2; '': the base brings it
            },
            'data': {'name': 'reservations'},  # the reader, or module:function
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
                'prompts': 256,  # test prompts for rewards and win rates
                'temperature': 1.0,  # temperature of sampling
                'batch_size': 64,  # responses that are sampled together
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
    sizes['quantization'] = quantization(config)
    if sizes['dtype'] == 'auto':  # a machine has not chosen yet
        sizes['dtype'] = 'float32'
    family = families.family_named(config.model.family)
    return family.architecture(vocabulary=vocabulary, **sizes)


def quantization(config: ConfigDict, stored: str = 'none') -> str:
    """How the frozen base of a run is stored, which all its stages share: as
    `model.quantization` says, or as the tuning of a stage calls for.

    Args:
        config: of the experiment.
        stored: how the folder of `model.path` holds it.

    Raises:
        UserError: the folder holds it in another one, or a tuning calls for another
            one, or cannot train such a base.
    """
    kind = config.model.get('quantization', 'none')
    if stored != 'none' and kind not in ('none', stored):
        raise UserError(
            f'model.quantization: {kind}, but the base of model.path is stored in '
            f'{stored}; leave it at none, or give the base in floating point'
        )
    kind = kind if stored == 'none' else stored
    tuned = {
        x: tuning(config[x].tuning, x) for x in config.stages if 'tuning' in config[x]
    }
    for name, how in tuned.items():
        if how.quantization and kind not in ('none', how.quantization):
            raise UserError(
                f'{name}.tuning.name: {how.name} trains over a base in '
                f'{how.quantization}, but this run has one in {kind}; set '
                f'model.quantization to {how.quantization}, or take another tuning'
            )
        kind = how.quantization or kind
    for name, how in tuned.items():
        whole = how.replaces_base or how.trains_weights
        makes_base = kinds.of(config[name]).makes == 'base'
        if whole and kind != 'none' and not makes_base:
            raise UserError(
                f'{name}.tuning.name: {how.name} trains weights of the base, and the '
                f'base of this run is stored in {kind}; take an adapter, or run '
                f'{name} by itself and give what it makes as model.path'
            )
    return kind


def to_json(config: ConfigDict) -> dict:
    """The resolved config as plain JSON values."""
    return json.loads(config.to_json_best_effort())
