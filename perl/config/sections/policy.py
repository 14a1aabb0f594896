"""The section of a policy stage: reinforcement learning."""

from typing import Any

from ml_collections import ConfigDict

from perl.config.sections.optimizer import optimizer_config
from perl.config.sections.tuning import tuning_config

# defaults that the paper of an algorithm implies
_CUSTOMS = {
    'rloo': {'samples': 4},
    'reinforce_pp': {'samples': 4, 'kl_in': 'loss', 'kl_estimator': 'k2'},
    'grpo': {'samples': 4, 'kl_in': 'loss', 'kl_estimator': 'k3'},
    'dr_grpo': {'samples': 4, 'kl_coefficient': 0.0},
    'dapo': {'samples': 4, 'kl_coefficient': 0.0, 'clip_high': 0.28},
    'gspo': {'samples': 4, 'kl_coefficient': 0.0, 'clip': 3e-4, 'clip_high': 4e-4},
    'cispo': {'samples': 4, 'kl_coefficient': 0.0, 'clip': 1.0, 'clip_high': 5.0},
    'best_of_n': {'samples': 4},
}


def policy_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """Reinforcement learning of the policy. An `algorithm` among the changes changes
    the defaults of other settings: to those of its paper, and to four responses to a
    prompt where it compares them."""
    config = ConfigDict(
        {
            'kind': 'policy',
            'algorithm': 'ppo',  # a name in the table of docs/algorithms.md
            'tuning': tuning_config(),
            'optimizer': optimizer_config(learning_rate, schedule='constant'),
            'value_learning_rate': learning_rate,  # learning rate of the value model
            'start': 'sft',  # base | sft | an adapter's folder: what it goes on from
            'value_start': 'sft',  # start of the value model: sft | reward | base
            'value_warmup': 0,  # first iterations, which train the value model alone
            # who rewards: a stage or folder of reward models, module:function, gold, or
            # a language model that scores 1 to 10 (d-RLAIF): endpoint | model
            'reward': 'reward',
            'judge': {
                'model': '',  # name at the endpoint; for `model`: stage, folder or base
                'url': '',  # address of the endpoint, such as http://host:8000/v1
                'key_env': '',  # the environment variable that holds its key
            },
            'steps': 50,  # iterations: sampling, scoring, updates
            'batch_size': 64,  # episodes (prompt with response) of an iteration
            'samples': 1,  # responses to each prompt; 4 where they are compared
            'rollout_slots': 0,  # episodes at once; as some end, others begin; 0: all
            'epochs': 2,  # passes over the episodes of an iteration
            'minibatches': 2,  # updates of a pass
            'micro_batches': 1,  # parts of a minibatch, computed in turns: less memory
            'temperature': 1.0,  # temperature of sampling and of all log-probs
            'kl_coefficient': 0.05,  # beta, strength of the KL penalty; 0 is none
            'kl_estimator': 'k1',  # which KL term, by its name in docs/algorithms.md
            'kl_in': 'reward',  # where the KL term is: reward | loss
            'kl_controller': 'fixed',  # how beta moves: fixed | adaptive
            'kl_target': 6.0,  # nats an episode that an adaptive beta aims at
            'kl_horizon': 10000.0,  # episodes in which an adaptive beta corrects
            'ema_rate': 0.0,  # step of the reference to the policy (WARP: 0.01)
            'gamma': 1.0,  # discount of later rewards
            'lam': 0.95,  # lambda of generalised advantage estimation
            'clip': 0.2,  # the ratio is clipped to 1 - clip and 1 + clip
            'clip_high': 0.0,  # takes the place of clip above 1 (DAPO); 0: as clip
            'value_clip': 0.2,  # clip range of the value loss
            'value_coefficient': 0.1,  # weight of the value loss
            'entropy_coefficient': 0.0,  # weight of an entropy bonus
            'whiten_advantages': True,  # to mean 0 and standard deviation 1 in a batch
            'whiten_rewards': False,  # to standard deviation 1 over the tokens
            'scale_rewards': False,  # divides rewards by their running deviation
            'clip_rewards': 0.0,  # clips rewards to -this and +this; 0 clips nothing
            'missing_eos_penalty': 1.0,  # taken off where a response has no end
            'overlong_tokens': 0,  # last ones of a response, which it pays for (DAPO)
            'sampler_correction': 'none',  # none | truncated | masked weights of tokens
            'correction_limit': 2.0,  # the largest of these weights
            'ptx_coefficient': 0.0,  # weight of a loss on text in each update (PPO-ptx)
            'ptx_batch_size': 32,  # rows of text of an update
            'save_every': 10,  # iterations between checkpoints
            'eval_every': 0,  # iterations between samples; 0 samples at the end only
        }
    )
    return _changed(config, changes)


def _changed(config, changes):
    """The section with the defaults of its algorithm, and with the given changes."""
    config.update(_CUSTOMS.get(changes.get('algorithm'), {}))
    config.update(changes)
    return config
