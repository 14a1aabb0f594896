"""Reddit TL;DR: summaries of posts, learned from people's comparisons.

    python -m perl.train --config=configs/reddit_tldr.py:base=BASE,tuning=lora,rank=4 \
        --config.data.root=DATA --workdir=runs/tldr
    python -m perl.train --config=configs/reddit_tldr.py:scale=laptop \
        --config.data.root=DATA --workdir=runs/tldr

DATA holds comparisons/ and tldr_3_filtered/ of OpenAI's summarize-from-feedback (see
docs/datasets.md); `--config.data.hub=True` reads copies on the Hugging Face hub. SFT
imitates the authors' summaries, the reward model learns the comparisons, and the policy
learns on the posts. In the paper: reward accuracy 78.7 % in full, 79.7 % by LoRA of
rank 4; the policy beats the baseline in 87 % in full and 86.5 % by LoRA of rank 16.
All stages have one window, with 53 tokens of response, where the N+ details (arXiv
2403.17031) give the reward model 169, and 155 of summaries of CNN/DM; what is cut is
counted.

Arguments: tuning=lora|full, rank=8, algorithm=NAME (docs/algorithms.md),
scale=paper|laptop, base=PATH, seed=0.
"""

from ml_collections import ConfigDict

from perl.config import recipes


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module."""
    chosen = recipes.arguments(arg)
    data = {
        'name': 'tldr',
        'root': '',
        'post_chars': 2000,  # about 500 tokens; the window would cut off the title
        'batches': (),
        'cnndm': False,
        'strength': '',
        'confidence': 'slider',
        'hub': False,
    }
    config = recipes.experiment('reddit_tldr', data, chosen)
    # The reward model starts from the base: so BOLT can use it on the same base.
    if chosen.scale == 'laptop':
        config.data.post_chars = 600
        return recipes.laptop(
            config,
            chosen,
            lengths=(256, 64),
            steps=(800, 150, 200, 20),
            reward_start='base',
        )
    return recipes.paper(
        config,
        chosen,
        lengths=(512, 53),  # arXiv 2403.17031; an end that is not reached is penalised
        sft_steps=912,  # 116,722 posts
        reward_rate=1e-4 if chosen.tuning == 'lora' else 1e-5,
        reward_start='base',
        policy_rate=1e-5,
        policy_steps=7300,  # not published; RLAIF's 8 epochs of the posts
        temperature=0.7,
    )
