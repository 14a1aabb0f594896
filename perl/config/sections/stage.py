"""The section of a supervised stage: pretrain, sft, reward or dpo."""

from typing import Any

from ml_collections import ConfigDict

from perl.config.sections.optimizer import optimizer_config
from perl.config.sections.tuning import tuning_config

# defaults that the paper of a loss of comparisons implies
_CUSTOMS = {
    'robust': {'label_smoothing': 0.1},
    'simpo': {'beta': 2.0, 'target_margin': 1.0},
    'orpo': {'nll_coefficient': 1.0},
}


def stage_config(kind: str, learning_rate: float, **changes: Any) -> ConfigDict:
    """A supervised stage: pretrain, sft, reward or dpo."""
    config = ConfigDict(
        {
            'kind': kind,
            'tuning': tuning_config(),
            'optimizer': optimizer_config(learning_rate),
            'steps': 100,  # updates of the weights
            # examples (for reward and dpo: comparisons) of an update, on all devices
            # together
            'batch_size': 32,
            # parts that a batch is computed in, one after the other, to save memory
            'micro_batches': 1,
            'eval_every': 50,  # steps between evaluations; 0 evaluates at the end only
            'save_every': 50,  # steps between checkpoints
        }
    )
    if kind != 'pretrain':
        # what the stage goes on from: base | sft | the folder of an adapter, ours or of
        # PEFT; a reward stage also from an earlier one, with its head and adapters
        config.start = 'base'
    if kind in ('reward', 'dpo'):
        # keeps the weights that did best on the validation split, not the last ones
        config.keep_best = False
        # encodes the prompt of a comparison once for all its completions: always |
        # never | auto, where prompts are as long as completions or longer
        config.share_prompts = 'auto'
    if kind == 'reward':
        # bradley_terry, on comparisons | pointwise, on ratings
        config.loss = 'bradley_terry'
        config.margins = True  # uses the margins of comparisons that have some
        config.label_smoothing = 0.0  # share of labels that is assumed to be wrong
        # rewards are shifted so that their mean is 0 over these texts of the
        # validation split: responses | demonstrations
        config.centre = 'responses'
        config.head_only = False  # trains the head alone: a linear probe
        config.shuffle = 0  # added to seed for the order of the examples
    config.update(changes)
    return config


def dpo_config(learning_rate: float, **changes: Any) -> ConfigDict:
    """A policy from comparisons alone (arXiv 2305.18290, and relatives). A `loss` among
    the changes changes the defaults of other settings to those of its paper."""
    config = stage_config('dpo', learning_rate, start='sft')
    config.loss = 'dpo'  # dpo | robust | ipo | simpo | orpo; see docs/algorithms.md
    config.beta = 0.1  # strength of the pull to the reference; of simpo, of the rewards
    config.target_margin = 0.0  # what the difference of two rewards has to reach
    config.nll_coefficient = 0.0  # weight of the next-token loss of the better response
    config.label_smoothing = 0.0  # share of labels that is assumed to be wrong
    # who scores the result: '' is nobody; else a stage or folder of reward models,
    # module:function or gold
    config.reward = ''
    config.update(_CUSTOMS.get(changes.get('loss'), {}))
    config.update(changes)
    return config
