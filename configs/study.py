"""Studies on the booking desk, whose gold reward is exact.

    python scripts/study.py --study=algorithms --workdir=runs/studies
    python -m perl.train --config=configs/study.py:study=algorithms,seed=1 --workdir=…

Each is the quickstart's model with several reward models and policies side by side in
one run; `scripts/study.py` runs the seeds, sharing what they have in common, and makes
the tables and plots of docs/studies/.

    algorithms    PPO, REINFORCE, RLOO, GRPO, best of n and DPO on as many samples
    regularisers  Sun et al. (arXiv 2309.09055): what holds a policy near its reference
    ranks         LoRA of rank 1 to 16 and full tuning (PERL, tables 2 and 3)
    optimisation  Gao et al. (arXiv 2210.10760): one small noisy reward model against an
                  ensemble and a weight average of four

Arguments: study=algorithms, seed=0.
"""

from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.system.errors import UserError
from perl.system.suggest import near_miss

SHARED = ('pretrain', 'sft', 'reward')  # alike in every study of a seed
EPISODES = 64
FULL_RATE, LORA_RATE = 2e-4, 2e-3


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module."""
    chosen = configs.parse_arg(arg, study='algorithms', seed=0)
    config = common(chosen.seed)
    config.name = f'study_{chosen.study}'
    studies = {
        'algorithms': algorithms,
        'regularisers': regularisers,
        'ranks': ranks,
        'optimisation': optimisation,
        'shared': lambda config: None,
    }
    if chosen.study not in studies:
        raise UserError(f'no study {chosen.study!r}{near_miss(chosen.study, studies)}')
    studies[chosen.study](config)
    return config


def common(seed: int) -> ConfigDict:
    """What the studies share: base, SFT and a reward model by LoRA."""
    config = configs.experiment('study')
    config.seed = seed
    config.stages = SHARED
    config.model.update(width=128, layers=2, hidden=256)
    config.data.flip = 0.1
    config.lengths.update(prompt=24, response=40)
    config.tokenizer.size = 768
    config.evaluation.temperature = 0.7
    config.pretrain.update(steps=500, batch_size=32)
    config.pretrain.optimizer.b2 = 0.95
    config.sft = configs.stage_config(
        'sft', LORA_RATE, tuning=lora(8), steps=150, batch_size=32, eval_every=0
    )
    config.reward = reward(lora(8))
    return config


def lora(rank: int) -> ConfigDict:
    """LoRA with the one alpha of all ranks, so that one learning rate serves them."""
    return configs.tuning_config('lora', rank, alpha=16.0)


def reward(tuning: ConfigDict, **changes: Any) -> ConfigDict:
    """A reward model from the SFT model."""
    rate = LORA_RATE if tuning.name == 'lora' else FULL_RATE
    settings = {'steps': 200, 'batch_size': 32, 'eval_every': 0, 'start': 'sft'}
    return configs.stage_config('reward', rate, tuning=tuning, **settings | changes)


def policy(tuning: ConfigDict | None = None, **changes: Any) -> ConfigDict:
    """A policy from the SFT model; PPO by LoRA unless changed."""
    tuning = lora(8) if tuning is None else tuning
    rate = LORA_RATE if tuning.name == 'lora' else FULL_RATE
    settings = {'steps': 32, 'batch_size': EPISODES, 'temperature': 0.7}
    return configs.policy_config(rate, tuning=tuning, **settings | changes)


def add(config: ConfigDict, **stages: ConfigDict) -> None:
    """Appends stages to the run."""
    for name, stage in stages.items():
        config[name] = stage
    config.stages = (*config.stages, *stages)


def algorithms(config: ConfigDict) -> None:
    """The same number of sampled or compared responses for each algorithm."""
    once = {'epochs': 1, 'minibatches': 1}
    group = {'samples': 4}
    anchored = {'kl_in': 'loss', 'kl_estimator': 'k3'}
    add(
        config,
        policy_ppo=policy(),
        policy_reinforce=policy(algorithm='reinforce', **once),
        policy_rloo=policy(algorithm='rloo', **group),
        policy_grpo=policy(algorithm='grpo', **group, **anchored),
        policy_best_of_n=policy(algorithm='best_of_n', **group, **anchored),
        dpo=configs.dpo_config(
            LORA_RATE,
            reward='reward',  # scores the result as it does those of the others
            tuning=lora(8),
            steps=32,
            batch_size=EPISODES // 2,  # comparisons of two responses
            eval_every=0,
        ),
    )


def regularisers(config: ConfigDict) -> None:
    """Every regulariser of Sun et al. in the reward, by LoRA and in full."""
    terms = ('k1', 'clamped', 'bregman', 'squared', 'jensen_shannon', 'none')
    for tuning in (lora(8), configs.tuning_config('full')):
        for term in terms:
            name = f'policy_{tuning.name}_{term}'
            add(config, **{name: policy(tuning, kl_estimator=term, steps=24)})


def ranks(config: ConfigDict) -> None:
    """Reward models and policies by rank over an SFT model tuned in full; one reward
    model serves all policies."""
    config.sft = configs.stage_config(
        'sft',
        FULL_RATE,
        tuning=configs.tuning_config('full'),
        steps=150,
        batch_size=32,
        eval_every=0,
    )
    tunings = {f'r{rank}': lora(rank) for rank in (1, 4, 8, 16)}
    tunings['full'] = configs.tuning_config('full')
    for name, tuning in tunings.items():
        if name != 'r8':  # the shared one
            add(config, **{f'reward_{name}': reward(tuning)})
    for name, tuning in tunings.items():
        add(config, **{f'policy_{name}': policy(tuning, steps=24)})


def optimisation(config: ConfigDict) -> None:
    """Four reward models of few, noisy labels, which go apart from a probe that they
    share; policies are trained on one of them, on all together and on their average,
    without a KL term, and on one with it."""
    config.data.update(comparisons=512, flip=0.25)
    config.stages = ('pretrain', 'sft')
    noisy = {'steps': 100, 'batch_size': 16}
    add(config, reward_probe=reward(lora(8), head_only=True, **noisy | {'steps': 30}))
    members = tuple(f'reward_{i}' for i in range(4))
    # as WARM's: other data orders, learning rates and dropouts
    differ = zip(members, (1.0, 0.5, 1.5, 2.0), (0.0, 0.05, 0.1, 0.15), strict=True)
    for i, (name, faster, dropout) in enumerate(differ):
        tuning = configs.tuning_config('lora', 8, alpha=16.0, dropout=dropout)
        member = reward(tuning, start='reward_probe', shuffle=i + 1, **noisy)
        member.optimizer.learning_rate *= faster
        add(config, **{name: member})
    add(
        config,
        reward_average=configs.average_config(members),
        reward_mean=configs.ensemble_config(members, combine='mean'),
        reward_min=configs.ensemble_config(members, combine='min'),
        reward_cautious=configs.ensemble_config(members, combine='mean_std'),
        reward_mixture=configs.ensemble_config(members, combine='gate', eval_every=0),
        reward_mole=configs.ensemble_config(members, combine='mole', eval_every=0),
    )
    # so small a beta changes nothing, but the KL is measured
    free = {'kl_coefficient': 1e-6, 'steps': 40}
    add(
        config,
        policy_one=policy(reward='reward_0', **free),
        policy_one_kl=policy(reward='reward_0', steps=40),
        policy_average=policy(reward='reward_average', **free),
        policy_mean=policy(reward='reward_mean', **free),
        policy_min=policy(reward='reward_min', **free),
        policy_cautious=policy(reward='reward_cautious', **free),
        policy_mixture=policy(reward='reward_mixture', **free),
        policy_mole=policy(reward='reward_mole', **free),
    )
