"""Taskmaster Coffee: thumbs up or down on an ordering agent, on a CPU.

    python -m perl.train --config=configs/taskmaster_coffee.py \
        --config.data.root=../shared/data/taskmaster --workdir=runs/coffee

The reward data that PERL's authors released (TM-4-2024 of the Taskmaster repository,
below `data.root`). A small base is pre-trained on the dialogs, SFT imitates the agent's
turns, the reward model learns the human ratings (pointwise), and the policy learns on
contexts of the training ratings and is judged on those of the test ratings.

Arguments: tuning=lora|full, rank=8, algorithm=NAME (docs/algorithms.md),
seed=0. The table over tunings and seeds is made by scripts/taskmaster_table.py;
docs/taskmaster.md has it.
"""

from ml_collections import ConfigDict

from perl import config as configs


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module."""
    chosen = configs.parse_arg(
        arg, tuning='lora', rank=8, algorithm='reinforce', seed=0
    )
    config = configs.experiment('taskmaster_coffee')
    config.seed = chosen.seed
    config.data = ConfigDict({'name': 'taskmaster_coffee', 'root': ''})
    config.data.api_chars = 160  # of an api response; what follows is cut
    config.tokenizer.size = 1024
    config.model.update(width=96, layers=3, head_width=24, hidden=256, max_length=384)
    config.model.scan = True  # most of a short run on a CPU is compilation
    config.lengths.update(prompt=320, response=64)  # nearly every dialog, whole
    tuning = {'name': chosen.tuning, 'rank': chosen.rank, 'alpha': 16.0}
    lora = chosen.tuning == 'lora'

    config.pretrain.update(steps=1000, batch_size=8, eval_every=200, save_every=200)
    config.pretrain.optimizer.b2 = 0.95
    config.sft = configs.stage_config(
        'sft',
        5e-4,
        tuning=configs.tuning_config('full'),
        steps=250,
        batch_size=16,
        eval_every=0,
    )
    config.reward = configs.stage_config(
        'reward',
        3e-3 if lora else 2e-4,
        tuning=configs.tuning_config(**tuning, dropout=0.2),
        start='sft',
        loss='pointwise',
        steps=480,  # nearly three epochs
        batch_size=16,
        eval_every=120,
    )
    config.policy = configs.policy_config(
        1e-3 if lora else 1e-4,
        tuning=configs.tuning_config(**tuning),
        algorithm=chosen.algorithm,
        steps=150,
        batch_size=32,
        epochs=1,
        minibatches=1,
        temperature=0.9,
    )
    return config
