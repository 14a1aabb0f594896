"""The stages of a small model on two CPU cores."""

from ml_collections import ConfigDict

from perl import config as configs
from perl.adapters import tunings
from perl.config.recipes.begin import window


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
    window(config, lengths)
    whole = tunings.kind_named(chosen.tuning).replaces_base
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
        3e-4 if whole else 3e-3,
        tuning=tuning,
        start=reward_start,
        loss=loss,
        steps=steps[2],
        batch_size=16,
        eval_every=25,
        keep_best=True,
    )
    config.policy = configs.policy_config(
        1e-4 if whole else 1e-3,
        tuning=tuning,
        algorithm=chosen.algorithm,
        steps=steps[3],
        batch_size=32,
        epochs=1,
        minibatches=1,
        temperature=0.9,
    )
    return config
