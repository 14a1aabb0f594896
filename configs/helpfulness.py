"""Anthropic HH helpfulness: which of two answers helps more.

    python -m perl.train --config=configs/helpfulness.py:base=BASE,tuning=lora,rank=8 \
        --config.data.root=DATA --workdir=runs/helpfulness
    python -m perl.train --config=configs/helpfulness.py:scale=laptop \
        --config.data.root=../shared/data/hh-rlhf --workdir=runs/helpfulness

DATA holds helpful-base/ of anthropics/hh-rlhf (see docs/datasets.md);
`--config.data.hub=True` reads it from the Hugging Face hub instead. The test file is
enough for scale=laptop, which splits it 8 to 1 to 1 (`--config.data.test_only=False`
reads the train file too). SFT imitates the preferred answers. The second version of the
paper does not use this part: the numbers are those of harmlessness.

Arguments: tuning=lora|full, rank=8, algorithm=NAME (docs/algorithms.md),
scale=paper|laptop, base=PATH, seed=0.
"""

from ml_collections import ConfigDict

from perl.config import recipes


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module."""
    chosen = recipes.arguments(arg)
    data = {'name': 'helpfulness', 'root': '', 'test_only': False, 'hub': False}
    data['parts'] = ('helpful-base',)  # 44,000 comparisons
    config = recipes.experiment('helpfulness', data, chosen)
    if chosen.scale == 'laptop':
        config.data.test_only = True
        config.tokenizer.size = 2048
        return recipes.laptop(
            config, chosen, lengths=(160, 96), steps=(800, 150, 100, 20)
        )
    return recipes.paper(
        config,
        chosen,
        lengths=(1024, 128),  # RLAIF's
        sft_steps=342,  # 44,000 comparisons
        reward_rate=2e-4 if chosen.tuning == 'lora' else 1e-5,
        policy_rate=1e-5,  # not published; RLAIF's, as is the temperature
        policy_steps=2700,  # not published; RLAIF's 8 epochs of the prompts
        temperature=0.9,
    )
