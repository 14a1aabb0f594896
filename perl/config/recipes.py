"""What the configs of the paper's data sets have in common: arguments, bases, scales.

A config says which data and which numbers; here is how they become stages. `paper` has
the hyper-parameters of PERL (arXiv 2403.10704v2, A.3), and where it prints none those
of RLAIF (arXiv 2309.00267, A and G), by the same group. `laptop` is a small model for
two CPU cores.
"""

import pathlib
from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.data.tokenizers.vocabularies import META
from perl.system.errors import UserError

SCALES = ('paper', 'laptop')
_TOKENIZERS = (META, 'tokenizer.json', 'tokenizer.model', 'tokenizer.bin')
# Of a policy stage. REINFORCE is RLAIF's, A.3: one update of -log pi (Z - V) and
# (Z - V)^2 for each batch. PPO is that of Stiennon et al. (arXiv 2009.01325).
_ALGORITHMS = {
    'reinforce': {
        'epochs': 1,
        'minibatches': 1,
        'value_coefficient': 1.0,
        'whiten_advantages': False,
    },
    'ppo': {'epochs': 4, 'minibatches': 1},
}


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
    public and a data set is little text: at the scale of the paper give a real base.
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
    `config.tokenizer.path`."""
    config.model.path = base
    config.stages = tuple(name for name in config.stages if name != 'pretrain')
    config.tokenizer.kind = 'file'
    folder = pathlib.Path(base)
    places = [folder, folder / 'tokenizer']
    found = [x for x in places if any((x / name).is_file() for name in _TOKENIZERS)]
    config.tokenizer.path = str([*found, folder][0])


def paper(
    config: ConfigDict,
    chosen: ConfigDict,
    *,
    lengths: tuple[int, int],
    sft_steps: int,
    reward_rate: float,
    policy_rate: float,
    policy_steps: int,
    temperature: float,
    dropout: float = 0.0,
    loss: str = 'bradley_terry',
    reward_start: str = 'sft',
) -> ConfigDict:
    """The stages at the scale of the paper.

    Args:
        config: from `experiment`.
        chosen: from `arguments`.
        lengths: of prompt and response in tokens.
        sft_steps: one epoch (RLAIF).
        reward_rate, policy_rate: learning rates of the chosen tuning.
        policy_steps: iterations.
        temperature: of sampling, in training and evaluation.
        dropout: of LoRA in the reward model.
        loss: of the reward model.
        reward_start: 'sft' or 'base'.
    """
    _window(config, lengths)
    config.sft = configs.stage_config(
        'sft',
        1e-5,
        optimizer=adafactor(1e-5),
        tuning=configs.tuning_config('full'),
        steps=sft_steps,
        batch_size=128,
        eval_every=0,
        save_every=200,
    )
    config.reward = configs.stage_config(
        'reward',
        reward_rate,
        optimizer=adafactor(reward_rate),
        tuning=configs.tuning_config(chosen.tuning, chosen.rank, dropout=dropout),
        start=reward_start,
        loss=loss,
        steps=5000,
        batch_size=128,
        eval_every=250,
        save_every=250,
        keep_best=True,
    )
    config.policy = configs.policy_config(
        policy_rate,
        optimizer=adafactor(policy_rate),
        tuning=configs.tuning_config(chosen.tuning, chosen.rank),
        algorithm=chosen.algorithm,
        steps=policy_steps,
        batch_size=128,
        temperature=temperature,
        kl_coefficient=0.05,
        save_every=50,
        **_ALGORITHMS.get(chosen.algorithm, {}),
    )
    config.evaluation.update(prompts=512, temperature=temperature)
    return config


def laptop(
    config: ConfigDict,
    chosen: ConfigDict,
    *,
    lengths: tuple[int, int],
    steps: tuple[int, int, int, int],
    loss: str = 'bradley_terry',
    reward_start: str = 'sft',
) -> ConfigDict:
    """The stages of a small model on two CPU cores.

    Args:
        config: from `experiment`.
        chosen: from `arguments`.
        lengths: of prompt and response in tokens.
        steps: of pretrain, sft, reward and policy.
        loss: of the reward model.
        reward_start: 'sft' or 'base'.
    """
    _window(config, lengths)
    lora = chosen.tuning == 'lora'
    tuning = configs.tuning_config(chosen.tuning, chosen.rank, alpha=16.0)
    config.pretrain.steps = steps[0]
    config.sft = configs.stage_config(
        'sft',
        5e-4,
        tuning=configs.tuning_config('full'),
        steps=steps[1],
        batch_size=16,
        eval_every=0,
    )
    config.reward = configs.stage_config(
        'reward',
        3e-3 if lora else 3e-4,
        tuning=tuning,
        start=reward_start,
        loss=loss,
        steps=steps[2],
        batch_size=16,
        eval_every=25,
        keep_best=True,
    )
    config.policy = configs.policy_config(
        1e-3 if lora else 1e-4,
        tuning=tuning,
        algorithm=chosen.algorithm,
        steps=steps[3],
        batch_size=32,
        epochs=1,
        minibatches=1,
        temperature=0.9,
    )
    return config


def adafactor(learning_rate: float) -> ConfigDict:
    """The optimizer of RLAIF; its schedule is not published."""
    return configs.optimizer_config(
        learning_rate, name='adafactor', schedule='constant', warmup=0
    )


def _window(config: ConfigDict, lengths: tuple[int, int]) -> None:
    config.lengths.update(prompt=lengths[0], response=lengths[1])
    config.model.max_length = sum(lengths)
