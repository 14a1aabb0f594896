"""Taskmaster Coffee: the reward data that PERL's authors released, small, on a CPU.

    python -m perl.train --config=configs/taskmaster_coffee.py \
        --config.data.root=../shared/data/taskmaster --workdir=runs/coffee

A small base is pre-trained on the dialogs, SFT imitates the agent's turns, the reward
model learns the human thumbs up or down (pointwise), and the policy is optimised on
contexts of the reward rows. `data.root` holds TM-4-2024 of the Taskmaster repository.

Arguments: tuning=lora|full, rank=8, algorithm=reinforce|ppo, seed=0.
"""

from ml_collections import ConfigDict

from perl import config as configs


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module."""
    chosen = configs.parse_arg(
        arg, tuning='lora', rank=8, algorithm='reinforce', seed=0
    )
    return experiment('taskmaster_coffee', chosen)


def experiment(name: str, chosen: ConfigDict) -> ConfigDict:
    """What Coffee and Ticketing have in common."""
    config = configs.experiment(name)
    config.seed = chosen.seed
    config.data = ConfigDict({'name': name, 'root': ''})
    config.tokenizer.size = 2048
    config.model.update(width=128, layers=4, heads=4, kv_heads=4, head_width=32)
    config.model.max_length = 512
    config.lengths.update(prompt=384, response=64)
    tuning = configs.tuning_config(chosen.tuning, chosen.rank, alpha=16.0)
    rate = 1e-3 if chosen.tuning == 'lora' else 1e-4

    config.pretrain.update(steps=600, batch_size=16)
    config.sft = configs.stage_config(
        'sft', 3e-4, tuning=configs.tuning_config('full'), steps=200, batch_size=32
    )
    config.reward = configs.stage_config(
        'reward',
        rate,
        tuning=tuning,
        start='sft',
        loss='pointwise',
        steps=200,
        batch_size=32,
    )
    config.policy = configs.policy_config(
        rate, tuning=tuning, algorithm=chosen.algorithm, steps=20, batch_size=32
    )
    return config
