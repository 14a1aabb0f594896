"""A real instruction-tuned model: SmolLM2-135M-Instruct with human feedback.

    python -m perl.train --config=configs/smollm2.py:data=harmlessness,base=MODEL.gguf \
        --config.data.root=../shared/data/hh-rlhf --workdir=runs/smollm2/harmlessness
    python -m perl.train \
        --config=configs/smollm2.py:data=taskmaster_coffee,base=MODEL.gguf \
        --config.data.root=../shared/data/taskmaster --workdir=runs/smollm2/coffee

MODEL is a GGUF file, or a folder of Hugging Face. The reward model and the policy are
adapters over the instruction-tuned base, which is their start and their reference. HH
harmlessness is the test file alone, 2,312 pairs, split 8 to 1 to 1 by prompt. What it
gives, and how long it takes: docs/real_models.md.

Arguments: data=harmlessness|taskmaster_coffee|taskmaster_ticketing, base=PATH,
scale=cpu|gpu (two cores: float32 with the operands of products in bfloat16, and a short
window; one GPU: bfloat16, a longer window, and larger batches of the policy),
tuning=lora|head (head trains the scalar head of the reward model alone), rank=8,
algorithm=rloo|ppo|reinforce|grpo|best_of_n, seed=0.
"""

from ml_collections import ConfigDict

from perl import config as configs
from perl.adapters.targets import ALL_LINEAR
from perl.config import recipes
from perl.system.errors import UserError

TASKMASTER = {
    'loss': 'pointwise',
    'batch_size': 16,
    'steps': 164,  # an epoch of Coffee, nine tenths of one of Ticketing
    'eval_every': 41,
}
PAIRS = {
    'loss': 'bradley_terry',
    'batch_size': 8,
    'steps': 230,  # an epoch
    'eval_every': 57,
    'keep_best': True,  # of 214 pairs; those of Taskmaster are of too few dialogs
}
# settings of the data, of the reward stage, and how many steps the head is trained
# alone before it, on the states of the base: one epoch of ratings with adapters leaves
# a random head where it was (LP-FT, arXiv 2202.10054)
DATA = {
    'harmlessness': ({'test_only': True, 'hub': False}, PAIRS, 0),
    'taskmaster_coffee': ({'api_chars': 40}, TASKMASTER, 800),
    'taskmaster_ticketing': ({'api_chars': 40}, TASKMASTER, 800),
}
# tokens of a response by scale, and of a prompt by scale and data
RESPONSE = {'cpu': 64, 'gpu': 128}
PROMPT = {
    'cpu': {'harmlessness': 160, 'taskmaster_coffee': 128, 'taskmaster_ticketing': 64},
    'gpu': dict.fromkeys(DATA, 384),
}


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module.

    Raises:
        UserError: an unknown argument or value, or no base.
    """
    chosen = configs.parse_arg(
        arg,
        **{'data': 'harmlessness', 'base': '', 'scale': 'cpu', 'tuning': 'lora'},
        **{'rank': 8, 'algorithm': 'rloo', 'seed': 0},
    )
    _check(chosen)
    settings, reward, probe_steps = DATA[chosen.data]
    config = configs.experiment(f'smollm2_{chosen.data}')
    config.seed = chosen.seed
    config.data = ConfigDict({'name': chosen.data, 'root': '', **settings})
    recipes.use_base(config, chosen.base)
    window = PROMPT[chosen.scale][chosen.data], RESPONSE[chosen.scale]
    recipes.window(config, window)
    config.tokenizer.chat = 'all'  # prompts become turns of the chat template
    config.stages = ('reward', 'policy')
    del config.pretrain, config.sft
    gpu = chosen.scale == 'gpu'
    if gpu:
        config.model.update(dtype='bfloat16', scan=True)
    else:
        config.model.precision = 'bfloat16'
    tuning = configs.tuning_config('lora', chosen.rank, alpha=16.0, targets=ALL_LINEAR)
    config.reward = configs.stage_config(
        'reward',
        # about ten times the rate of full tuning; the head alone has no such limit
        2e-4 if chosen.tuning == 'lora' else 3e-3,
        tuning=tuning,
        head_only=chosen.tuning == 'head',
        micro_batches=1 if gpu else 2,
        save_every=20,
        **reward,
    )
    if probe_steps and chosen.tuning == 'lora':
        config.stages = ('probe', *config.stages)
        config.reward.start = 'probe'
        probe = {**reward, 'steps': probe_steps, 'eval_every': 200, 'head_only': True}
        config.probe = configs.stage_config('reward', 1e-2, tuning=tuning, **probe)
    config.policy = configs.policy_config(
        2e-4,
        tuning=tuning,
        algorithm=chosen.algorithm,
        start='base',
        value_start='base',
        steps=200 if gpu else 40,
        batch_size=64 if gpu else 32,
        epochs=1,
        minibatches=1,
        micro_batches=1 if gpu else 4,
        save_every=5,
    )
    config.evaluation.update(prompts=128, batch_size=32)
    return config


def _check(chosen):
    choices = {
        'data': tuple(DATA),
        'scale': tuple(PROMPT),
        'tuning': ('lora', 'head'),
    }
    for name, values in choices.items():
        if chosen[name] not in values:
            raise UserError(
                f'config argument {name}={chosen[name]!r} is not one of '
                f'{", ".join(values)}'
            )
    if not chosen.base:
        raise UserError(
            'configs/smollm2.py: no base is given; write base=MODEL.gguf, or a folder '
            'of Hugging Face, after the colon'
        )
