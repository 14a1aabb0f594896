"""Anthropic HH harmlessness: which of two answers does less harm.

    python -m perl.train --config=configs/harmlessness.py:base=BASE,tuning=lora,rank=8 \
        --config.data.root=DATA --workdir=runs/harmlessness
    python -m perl.train --config=configs/harmlessness.py:scale=laptop \
        --config.data.root=../shared/data/hh-rlhf --workdir=runs/harmlessness

DATA holds harmless-base/ of anthropics/hh-rlhf (see docs/datasets.md);
`--config.data.hub=True` reads it from the Hugging Face hub instead. The test file is
enough for scale=laptop, which splits it 8 to 1 to 1 (`--config.data.test_only=False`
reads the train file too). SFT imitates the preferred answers. The content is offensive
by design. In the paper: reward accuracy 76.6 % in full, 79.1 % by LoRA of rank 8;
harmless answers 96.6 % in full, 97.7 % by LoRA of rank 8. With scale=laptop: 54.2 %
[47.4, 60.8] on 214 pairs, level with "shorter wins"; six minutes of one core.

Arguments: tuning=lora|full, rank=8, algorithm=NAME (docs/algorithms.md),
scale=paper|laptop, base=PATH, seed=0.
"""

from ml_collections import ConfigDict

from perl.config import recipes


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module."""
    chosen = recipes.arguments(arg)
    data = {'name': 'harmlessness', 'root': '', 'test_only': False, 'hub': False}
    config = recipes.experiment('harmlessness', data, chosen)
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
        sft_steps=331,  # 42,000 comparisons
        reward_rate=2e-4 if chosen.tuning == 'lora' else 1e-5,
        policy_rate=1e-5,  # not published; RLAIF's, as is the temperature
        policy_steps=2600,  # not published; RLAIF's 8 epochs of the prompts
        temperature=0.9,
    )
