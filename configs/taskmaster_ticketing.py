"""Taskmaster Ticketing: thumbs up or down on a cinema agent, on a CPU.

    python -m perl.train --config=configs/taskmaster_ticketing.py \
        --config.data.root=../shared/data/taskmaster --workdir=runs/ticketing

The reward data that PERL's authors released (TM-3-2020 of the Taskmaster repository,
below `data.root`) and the one public shard of demonstrations. Stages as for Coffee.
Dialogs are long: the window holds the latest turns, the rest is cut from the left.

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
    config = configs.experiment('taskmaster_ticketing')
    config.seed = chosen.seed
    config.data = ConfigDict({'name': 'taskmaster_ticketing', 'root': ''})
    config.data.api_chars = 160  # of an api response; what follows is cut
    config.tokenizer.size = 2048
    config.model.update(width=96, layers=3, head_width=24, hidden=256, max_length=256)
    config.model.scan = True  # most of a short run on a CPU is compilation
    config.lengths.update(prompt=192, response=64)  # the latest turns of the dialog
    tuning = {'name': chosen.tuning, 'rank': chosen.rank, 'alpha': 16.0}
    lora = chosen.tuning == 'lora'

    config.pretrain.update(steps=700, batch_size=16, eval_every=200, save_every=200)
    config.pretrain.optimizer.b2 = 0.95
    config.sft = configs.stage_config(
        'sft',
        5e-4,
        tuning=configs.tuning_config('full'),
        steps=120,
        batch_size=16,
        eval_every=0,
    )
    config.reward = configs.stage_config(
        'reward',
        3e-3 if lora else 2e-4,
        tuning=configs.tuning_config(**tuning, dropout=0.2),
        start='sft',
        loss='pointwise',
        steps=480,  # two and a half epochs
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
