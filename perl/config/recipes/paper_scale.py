"""The stages at the scale of the paper.

It has the hyper-parameters of PERL (arXiv 2403.10704v2, A.3), and where it prints none
those of RLAIF (arXiv 2309.00267, A and G), by the same group.
"""

from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.config.recipes.begin import window

# The algorithms of a policy stage. REINFORCE is RLAIF's, A.3: one update of
# -log pi (Z - V) and (Z - V)^2 for each batch. PPO is that of Stiennon et al. (arXiv
# 2009.01325).
_ALGORITHMS = {
    'reinforce': {
        'epochs': 1,
        'minibatches': 1,
        'value_coefficient': 1.0,
        'whiten_advantages': False,
    },
    'ppo': {'epochs': 4, 'minibatches': 1},
}


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
    window(config, lengths)
    config.sft = configs.stage_config(
        'sft',
        **_as_published(1e-5),
        tuning=configs.tuning_config('full'),
        steps=sft_steps,
        eval_every=0,
        save_every=200,
    )
    config.reward = configs.stage_config(
        'reward',
        **_as_published(reward_rate),
        tuning=configs.tuning_config(chosen.tuning, chosen.rank, dropout=dropout),
        start=reward_start,
        loss=loss,
        steps=5000,
        eval_every=250,
        save_every=250,
        keep_best=True,
    )
    config.policy = configs.policy_config(
        **_as_published(policy_rate),
        tuning=configs.tuning_config(chosen.tuning, chosen.rank),
        algorithm=chosen.algorithm,
        steps=policy_steps,
        temperature=temperature,
        save_every=50,
        **_ALGORITHMS.get(chosen.algorithm, {}),
    )
    config.evaluation.update(prompts=512, temperature=temperature)
    return config


def _as_published(learning_rate: float) -> dict[str, Any]:
    """What every stage of the papers has."""
    return {
        'learning_rate': learning_rate,
        'optimizer': adafactor(learning_rate),
        'batch_size': 128,
    }


def adafactor(learning_rate: float) -> ConfigDict:
    """The optimizer of RLAIF; its schedule is not published."""
    return configs.optimizer_config(
        learning_rate, name='adafactor', schedule='constant', warmup=0
    )
