"""Rules for the reward of a policy: the reward that is named must exist.

A language model behind an address is checked as far as it can be without a call.
"""

import pathlib
from typing import Any

from perl import config as configs
from perl.config import kinds, lineage
from perl.judges import functions
from perl.judges.language import addresses
from perl.judges.names import LANGUAGE
from perl.models import bases
from perl.system.errors import UserError, renamed, within
from perl.system.suggest import near_miss

OTHERS = ('gold', *LANGUAGE)  # names of rewards that are not of reward models
CARDS = ('adapter.json', 'ensemble.json')  # of what a folder holds


def by_models(name: str) -> bool:
    """Whether a reward is given by reward models of ours: by a stage or a folder."""
    others = name in OTHERS or functions.named(name) or bases.is_classifier(name)
    return not others


def check(config: Any, stage: str) -> None:
    """Raises a `UserError` for the first rule that the reward of a stage breaks.

    A reward model may be trained by another process, so it need not be finished.
    """
    name = config[stage].reward
    if not (name or kinds.of(config[stage]).trained_by_reward):  # nobody scores it
        return
    section = dict(config[stage].get('judge', {}))
    _check_judge(stage, name, section)
    if by_models(name):
        _check_reward_model(config, stage, name)
    elif functions.named(name):
        with within(f'{stage}.reward'):
            functions.load(name)
    elif bases.is_classifier(name):
        with renamed('model.path', f'{stage}.reward'):
            bases.describe(name, scores=True)
    if config[stage].get('value_start') == 'reward' and not _has_one(config, name):
        raise UserError(
            f'{stage}.value_start: a value starts from one reward model, but {name} is '
            'not one; set it to sft or base'
        )


def _check_judge(stage, name, section):
    """Settings of a language model must be given where one is asked, and only there."""
    if name in LANGUAGE and not section:
        raise UserError(
            f'{stage}.reward: {name} needs settings that only a policy stage has; name '
            'a reward model or a function'
        )
    needed = LANGUAGE.get(name, ())
    url = section.get('url')
    try:
        if url:
            addresses.check_public(url)
        if name == 'endpoint':
            addresses.secret(section['key_env'])
    except UserError as error:
        raise UserError(f'{stage}.judge.{error}') from None
    for field, value in section.items():
        if value and not (field in needed or (field == 'key_env' and 'url' in needed)):
            raise UserError(
                f'{stage}.judge.{field}: is not used where {stage}.reward is {name!r}; '
                'leave it empty, or set the reward to endpoint or model'
            )
    for field in needed:
        if not section[field]:
            raise UserError(f'{stage}.judge.{field}: {name} needs one')


def _check_reward_model(config, stage, name):
    before = lineage.earlier(config, stage)
    if name in configs.known_stages(config):
        early = name in before or name not in config.stages
        if early and lineage.makes(config, name) == 'reward':
            return
    elif any((pathlib.Path(name) / x).is_file() for x in CARDS):
        return
    known = [x for x in before if lineage.makes(config, x) == 'reward']
    others = OTHERS if 'judge' in config[stage] else ('gold',)
    raise UserError(
        f'{stage}.reward: {name!r} is neither an earlier stage that makes a reward '
        f'model, nor a folder with {" or ".join(CARDS)} or of a classifier, nor '
        'module:function'
        f'{near_miss(name, [*known, *others])}'
    )


def _has_one(config, name):
    """Whether a reward is a single reward model."""
    if name in configs.known_stages(config):
        return 'combine' not in config[name]
    return (pathlib.Path(name) / 'adapter.json').is_file()
