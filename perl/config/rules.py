"""Every rule that a config must keep, checked before anything is read or trained."""

from ml_collections import ConfigDict

from perl import config as configs
from perl.config import lineage, ranges, rewards
from perl.config.kinds import KINDS
from perl.system.errors import UserError
from perl.system.suggest import meant, one_of


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` for the first rule that the config breaks."""
    defaults = configs.experiment('')
    for name in defaults:
        if name not in config and name not in defaults.stages:
            raise UserError(f'config: it has no {name}; start from experiment()')
    if not config.stages:
        raise UserError('stages: none is named, so there is nothing to do')
    known = configs.known_stages(config)
    for name in config.stages:
        if name not in known:
            raise UserError(
                f'stages: {name!r} is no stage of this config{meant(name, known)}'
            )
        _complete(name, config[name])
    ranges.check(config)
    for name in config.stages:
        KINDS[config[name].kind].check(name, config[name])
        lineage.check(config, name)
        if 'reward' in config[name]:
            rewards.check(config, name)
    if not config.model.path:
        check_window(config, config.model.max_length)
    one_of('tokenizer.kind', config.tokenizer.kind, 'bytes', 'sentencepiece', 'file')
    if config.tokenizer.kind == 'file' and not config.tokenizer.path:
        raise UserError('tokenizer.path: kind "file" needs a path')
    if 'pretrain' in config.stages and config.model.path:
        raise UserError(
            'stages: pretrain makes a base, but model.path gives one; '
            'leave one of the two out'
        )


def check_window(config: ConfigDict, most: int) -> None:
    """Raises a `UserError` unless prompt and response fit in a decoder's window."""
    if config.lengths.prompt + config.lengths.response > most:
        raise UserError(
            f'lengths: prompt {config.lengths.prompt} + response '
            f'{config.lengths.response} is longer than model.max_length {most}; '
            'shorten one or widen the window'
        )


def _complete(name: str, stage: ConfigDict) -> None:
    one_of(f'{name}.kind', stage.kind, *KINDS)
    if 'rater' in stage:
        raise UserError(
            f'{name}.rater: is gone; name who scores, endpoint or model, as '
            f'{name}.reward, and put the settings into {name}.judge'
        )
    missing = [x for x in KINDS[stage.kind].section() if x not in stage]
    if missing:
        raise UserError(
            f'{name}: a stage of kind {stage.kind} has the field {missing[0]!r}, which '
            'is missing; make it with the function of perl.config for that kind'
        )
