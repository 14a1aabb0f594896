"""BOLT English SMS/Chat: summaries of conversations, judged by TL;DR's reward model.

    python -m perl.train --workdir=runs/bolt --config.data.root=DATA \
        --config=configs/bolt_messages.py:base=BASE,reward=runs/tldr/reward/adapter

DATA holds the .xml files of LDC2018T19 and a table of summaries (see docs/datasets.md).
There is no reward model of this dataset: `reward` is the adapter of a run of
configs/reddit_tldr.py, and `base` the base model of that run (the same BASE, or its
pretrain/base). With scale=laptop likewise. In the paper the policy beats the baseline
in 73.2 % in full and 75.5 % by LoRA of rank 16.

Arguments: reward=FOLDER, base=PATH, tuning=lora|full, rank=8,
algorithm=NAME (docs/algorithms.md), scale=paper|laptop, seed=0.
"""

import pathlib

from ml_collections import ConfigDict

from perl.adapters import bundle
from perl.config import recipes
from perl.system.errors import UserError


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module.

    Raises:
        UserError: no reward model is given, or no base for it to sit on.
    """
    chosen = recipes.arguments(arg, reward='')
    if not chosen.reward or not bundle.exists(pathlib.Path(chosen.reward)):
        raise UserError(
            f'config argument reward={chosen.reward!r} is not an adapter: train '
            'configs/reddit_tldr.py and give its folder, runs/tldr/reward/adapter'
        )
    if not chosen.base:
        raise UserError(
            'config argument base is missing: give the base that the reward model was '
            'trained on, such as runs/tldr/pretrain/base'
        )
    data = {'name': 'bolt', 'root': '', 'summaries': 'summaries.jsonl', 'split': ''}
    config = recipes.experiment('bolt_messages', data, chosen)
    if chosen.scale == 'laptop':
        recipes.laptop(config, chosen, lengths=(256, 64), steps=(1, 150, 1, 20))
    else:
        recipes.paper(
            config,
            chosen,
            lengths=(512, 53),  # not published; those that the reward model has seen
            sft_steps=93,  # 11,932 conversations
            reward_rate=1e-4,  # of no stage here
            policy_rate=1e-4,  # printed as 1e4
            policy_steps=750,  # not published; RLAIF's 8 epochs of the conversations
            temperature=0.7,
        )
    config.stages = ('sft', 'policy')
    config.policy.reward = chosen.reward
    return config
