"""How the config of a paper's dataset begins: its arguments, its model, its base."""

import pathlib
from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.adapters.targets import ALL_LINEAR
from perl.config import kinds
from perl.data.tokenizers.vocabularies import META
from perl.system.errors import UserError

SCALES = ('paper', 'laptop')
_TOKENIZERS = (META, 'tokenizer.json', 'tokenizer.model', 'tokenizer.bin')


def arguments(arg: str | None, **more: Any) -> ConfigDict:
    """What follows the colon of `--config=FILE:…`.

    Raises:
        UserError: an unknown argument, or a scale that there is not.
    """
    chosen = configs.parse_arg(
        arg,
        **{'tuning': 'lora', 'rank': 8, 'algorithm': 'reinforce', 'scale': 'paper'},
        **{'base': '', 'seed': 0, **more},
    )
    if chosen.scale not in SCALES:
        raise UserError(
            f'config argument scale={chosen.scale!r} is not one of {", ".join(SCALES)}'
        )
    return chosen


def experiment(name: str, data: dict[str, Any], chosen: ConfigDict) -> ConfigDict:
    """The config of an experiment with its model, before its stages are made.

    Without `base` the model is pre-trained on the text of the data. PaLM 2 is not
    public and a dataset is little text: at the scale of the paper give a real base.
    """
    config = configs.experiment(name)
    config.seed = chosen.seed
    config.data = ConfigDict(data)
    if chosen.scale == 'paper':
        config.tokenizer.size = 32000
        config.model.update(
            width=768, layers=12, heads=12, kv_heads=12, head_width=64, hidden=2048,
            dtype='bfloat16', scan=True, remat=True,
        )  # fmt: skip
        config.pretrain.update(
            steps=10000, batch_size=64, eval_every=1000, save_every=1000
        )
        config.pretrain.optimizer.update(
            learning_rate=6e-4, warmup=500, b2=0.95, weight_decay=0.1
        )
    else:
        config.tokenizer.size = 1024
        config.model.update(width=96, layers=3, head_width=24, hidden=256)
        config.model.scan = True  # most of a short run on a CPU is compilation
        config.pretrain.update(batch_size=8, eval_every=200, save_every=200)
        config.pretrain.optimizer.b2 = 0.95
    if chosen.base:
        use_base(config, chosen.base)
    return config


def use_base(config: ConfigDict, base: str) -> None:
    """Takes a base instead of pre-training one, with the tokenizer that belongs to it:
    in the folder of the base, where pretraining puts it. Elsewhere it is named as
    `config.tokenizer.path`.

    The stages that `experiment` has made get LoRA on all kernels, the default for a
    base that is brought; those of the paper are made after it, with its attention."""
    config.model.path = base
    config.stages = tuple(
        name for name in config.stages if kinds.of(config[name]).makes != 'base'
    )
    for name in config.stages:
        config[name].tuning.targets = ALL_LINEAR
    config.tokenizer.kind = 'file'
    folder = pathlib.Path(base)
    places = [folder, folder / 'tokenizer']
    with_tokenizer = [
        x for x in places if any((x / name).is_file() for name in _TOKENIZERS)
    ]
    config.tokenizer.path = str([*with_tokenizer, folder][0])


def window(config: ConfigDict, lengths: tuple[int, int]) -> None:
    """Sets the lengths of prompt and response in tokens, and a window for both."""
    config.lengths.update(prompt=lengths[0], response=lengths[1])
    config.model.max_length = sum(lengths)
