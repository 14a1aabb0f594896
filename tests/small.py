"""An experiment whose whole pipeline runs in seconds; `runs.py` starts it.

Arguments: tuning=lora|full, pair=False (a second reward model, tuned in full),
files=FOLDER (of JSON lines, one file for each kind of record).
"""

from ml_collections import ConfigDict

from perl import config as configs

STEPS = 6
KINDS = ('text', 'demonstrations', 'comparisons', 'ratings', 'prompts')
DATA = {
    'name': 'reservations',
    'text': 120,
    'demonstrations': 64,
    'comparisons': 64,
    'prompts': 32,
    'held_out': 12,
}


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module's docstring."""
    chosen = configs.parse_arg(arg, tuning='lora', pair=False, files='')
    config = configs.experiment('small')
    config.model.update(
        width=16, layers=1, heads=2, kv_heads=2, head_width=8, hidden=32, max_length=64
    )
    config.lengths.update(prompt=16, response=16)
    config.tokenizer.size = 420
    config.data = ConfigDict(_files(chosen.files) if chosen.files else DATA)
    config.evaluation.update(prompts=8, batch_size=8)
    tuning = configs.tuning_config(chosen.tuning, rank=2, alpha=4.0)
    common = {'steps': STEPS, 'batch_size': 8, 'save_every': 2}
    config.pretrain.update(eval_every=3, **common)
    config.sft.update(tuning=tuning, eval_every=3, **common)
    config.reward.update(tuning=tuning, eval_every=3, **common)
    config.policy.update(tuning=tuning, **common)
    if chosen.pair:
        config.stages = ('pretrain', 'sft', 'reward', 'reward_full', 'policy')
        full = configs.tuning_config('full')
        config.reward_full = configs.stage_config(
            'reward', 1e-3, tuning=full, start='sft', **common
        )
    return config


def _files(folder):
    paths = {kind: f'{folder}/{kind}.jsonl' for kind in KINDS}
    return {'name': 'files', 'shares': (2, 1, 1), **paths}
