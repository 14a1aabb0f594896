"""Your own files, by arguments alone: a stage for each kind of records that is given.

    python -m perl.train --workdir=runs/pairs \
        --config=configs/files.py:comparisons=pairs.jsonl,prompt=question

A path (JSON lines, JSON, CSV, TSV or Parquet) for a kind of records adds the stage that
learns from it:

    demonstrations=FILE  sft                 columns prompt, response
    comparisons=FILE     reward              columns prompt, chosen, rejected
    ratings=FILE         reward, pointwise   columns prompt, response, label
    prompts=FILE         policy              column  prompt
    text=FILE            text to pre-train on, column text; without it the base is
                         pre-trained on the files above
    base=PATH            a base with its tokenizer in the same folder, instead of
                         pre-training one

Columns with other names are arguments too: prompt=question says that the prompts are in
the column `question`, and so do response=, chosen=, rejected= and label=. A response
gets a space before it, so that it does not run into its prompt; another template is
`--config.data.comparisons.response='{response}'`. What needs more (a group, a split for
each file, several columns in a prompt) is a config of one's own: docs/datasets.md.

More arguments: tuning=lora|full, rank=8, algorithm=NAME (docs/algorithms.md),
seed=0.
"""

from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.config import recipes
from perl.system.errors import UserError

# the fields of each kind of records
FIELDS = {
    'demonstrations': ('prompt', 'response'),
    'comparisons': ('prompt', 'chosen', 'rejected'),
    'ratings': ('prompt', 'response', 'label'),
    'prompts': ('prompt',),
}
STAGES = {
    'demonstrations': 'sft',
    'comparisons': 'reward',
    'ratings': 'reward',
    'prompts': 'policy',
}
COLUMNS = ('prompt', 'response', 'chosen', 'rejected', 'label')


def get_config(arg: str | None = None) -> ConfigDict:
    """The experiment; see the module.

    Raises:
        UserError: no file is given, or comparisons and ratings together.
    """
    chosen = configs.parse_arg(
        arg,
        **dict.fromkeys([*FIELDS, 'text', *COLUMNS, 'base'], ''),
        **{'tuning': 'lora', 'rank': 8, 'algorithm': 'ppo', 'seed': 0},
    )
    given = [kind for kind in FIELDS if chosen[kind]]
    _check(given)
    config = configs.experiment('files')
    config.seed = chosen.seed
    config.data = ConfigDict({'name': 'files', **_sources(chosen, given)})
    config.lengths.update(prompt=256, response=128)  # the check says what is cut
    stages = [STAGES[kind] for kind in given]
    config.stages = ('pretrain', *stages)
    _set_stages(config, chosen, 'sft' if 'sft' in stages else 'base')
    if 'ratings' in given:
        config.reward.loss = 'pointwise'
    if chosen.base:
        recipes.use_base(config, chosen.base)
    return config


def _check(given):
    if not given:
        kinds = ', '.join(f'{kind}=FILE' for kind in FIELDS)
        raise UserError(
            f'configs/files.py: no file is given; write one after the colon: {kinds}'
        )
    if {'comparisons', 'ratings'} <= set(given):
        raise UserError(
            'configs/files.py: the reward model learns from comparisons or from '
            'ratings; give one of them'
        )


def _sources(chosen: ConfigDict, given: list[str]) -> dict[str, Any]:
    """The settings of each kind of records, and of the text to pre-train on."""
    sources = {kind: _source(chosen, kind, FIELDS[kind]) for kind in given}
    if chosen.text:
        sources['text'] = {'path': chosen.text}
    elif not chosen.base:
        sources['text'] = _text_of(chosen, given[0])
    return sources


def _text_of(chosen, kind):
    """Text made of the prompts and the good responses of another kind."""
    if kind == 'prompts':
        return {'path': chosen.prompts, 'columns': {'text': chosen.prompt or 'prompt'}}
    better = 'chosen' if kind == 'comparisons' else 'response'
    columns = {
        **_named({'prompt': chosen.prompt}),
        'response': chosen[better] or better,
    }
    return _source(chosen, kind, ()) | {'columns': columns}


def _source(chosen, kind, fields):
    columns = _named({field: chosen[field] for field in fields})
    source = {'path': chosen[kind], 'columns': columns, 'prompt': '{prompt}'}
    return source if kind == 'prompts' else {**source, 'response': ' {response}'}


def _named(columns):
    """The columns that have another name than their field."""
    return {field: column for field, column in columns.items() if column}


def _set_stages(config, chosen, start):
    """The tuning and the start of every stage after the base."""
    tuning = configs.tuning_config(chosen.tuning, chosen.rank)
    rate = 2e-4 if chosen.tuning == 'full' else 1e-3
    config.sft = configs.stage_config('sft', rate, tuning=tuning)
    config.reward = configs.stage_config('reward', rate, tuning=tuning, start=start)
    config.policy = configs.policy_config(
        rate,
        tuning=tuning,
        algorithm=chosen.algorithm,
        start=start,
        value_start=start,
    )
