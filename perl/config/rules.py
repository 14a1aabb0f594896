"""Every rule that a config must keep, checked before anything is read or trained."""

import pathlib
from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.config import lineage, ranges, rewards, stage_names
from perl.config.kinds import KINDS
from perl.models.architecture import DTYPES
from perl.system import schema
from perl.system.errors import UserError
from perl.system.suggest import meant, meant_setting, one_of
from perl.weights import QUANTISATIONS

_DEFAULTS = configs.experiment('')
CHAT = ('messages', 'all')


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` for the first rule that the config breaks.

    Names and types are checked in the whole config, numbers and choices in the stages
    that are to run. The options of `data` are for its reader to check.
    """
    for name in _DEFAULTS:
        if name not in config and name not in _DEFAULTS.stages:
            raise UserError(f'config: it has no {name}; start from experiment()')
    stages = configs.known_stages(config)
    _check_sections(config, stages)
    if not config.name:
        raise UserError('name: it is empty; the run folder is named after it')
    is_name = pathlib.PurePath(config.name).name == config.name != '..'
    if not (is_name and str(config.name).isprintable()):
        raise UserError(
            f'name: {config.name!r:.60} is not the name of a folder; --workdir chooses '
            'another place'
        )
    if not config.stages:
        raise UserError('stages: none is named, so there is nothing to do')
    for name in config.stages:
        if name not in stages:
            raise UserError(
                f'stages: {name!r} is not a stage of this config{meant(name, stages)}'
            )
        if list(config.stages).count(name) > 1:
            raise UserError(f'stages: {name} is named twice; a stage runs once')
    for name in stages:
        stage_names.check(name)
        stage_names.check_use(config, name)
    ranges.check(config)
    one_of('model.quantization', configs.quantization(config), 'none', *QUANTISATIONS)
    for name in config.stages:
        KINDS[config[name].kind].check(name, config[name])
        _check_overlong(name, config)
        lineage.check(config, name)
        if 'reward' in config[name]:
            rewards.check(config, name)
    one_of('model.dtype', config.model.dtype, *DTYPES, 'auto')
    if not config.model.path:
        configs.architecture(config, vocabulary=1)  # raises what the sizes break
        check_window(config, config.model.max_length)
    one_of('tokenizer.kind', config.tokenizer.kind, 'bytes', 'sentencepiece', 'file')
    one_of('tokenizer.chat', config.tokenizer.get('chat', 'messages'), *CHAT)
    named = config.tokenizer.path or config.model.path
    if config.tokenizer.kind == 'file' and not named:
        raise UserError('tokenizer.path: kind "file" needs a path')
    if config.tokenizer.kind != 'file' and config.tokenizer.path:
        raise UserError(
            f'tokenizer.path: is not read where tokenizer.kind is '
            f'{config.tokenizer.kind}; set the kind to file, or leave the path empty'
        )
    if 'pretrain' in config.stages and config.model.path:
        raise UserError(
            'stages: pretrain makes a base, but model.path gives one; '
            'leave one of the two out'
        )


def _check_overlong(name, config):
    most, tokens = config.lengths.response, config[name].get('overlong_tokens', 0)
    if tokens > most:
        raise UserError(
            f'{name}.overlong_tokens: {tokens} is more than lengths.response {most}; '
            'give a part of it'
        )


def check_window(config: ConfigDict, most: int) -> None:
    """Raises a `UserError` unless prompt and response fit in a decoder's window."""
    if config.lengths.prompt + config.lengths.response > most:
        raise UserError(
            f'lengths: prompt {config.lengths.prompt} + response '
            f'{config.lengths.response} is longer than model.max_length {most}; '
            'shorten one or widen the window'
        )


def _check_sections(config: ConfigDict, stages: list[str]) -> None:
    """Names and types of everything but the options of the data."""
    for name, section in config.items():
        if name in stages:
            _check_fields(name, section)
        elif name not in _DEFAULTS:
            near = meant(name, [*_DEFAULTS, *stages])
            if schema.is_section(section) and not near:
                near = (
                    '; a stage has a kind, so make it with configs.stage_config(kind, '
                    'learning_rate), configs.dpo_config(learning_rate) or '
                    'configs.policy_config(learning_rate)'
                )
            raise UserError(f'{name} is unknown{near}')
        elif name in _DEFAULTS.stages and schema.is_section(section):
            raise UserError(f'{name}.kind is missing; it must be {", ".join(KINDS)}')
        elif name == 'data':
            schema.check_types({name: section}, {name: {'name': ''}})
        else:
            only = {name: section}, {name: _DEFAULTS[name]}
            schema.check_names(*only)
            schema.check_types(*only)


def _check_fields(name: str, stage: ConfigDict) -> None:
    """A stage has the fields of its kind, each of the type of its default."""
    schema.check_type(f'{name}.kind', stage.kind, '')
    one_of(f'{name}.kind', stage.kind, *KINDS)
    if 'rater' in stage:
        raise UserError(
            f'{name}.rater: this setting no longer exists; write endpoint or model as '
            f'{name}.reward, and put the settings into {name}.judge'
        )
    defaults = dict(KINDS[stage.kind].section().items())
    missing = [field for field in defaults if field not in stage]
    if missing:
        raise UserError(
            f'{name}: the field {missing[0]!r} of a stage of kind {stage.kind} is '
            'missing; make the section with the function of perl.config for that kind'
        )
    for field in stage:
        if field not in defaults:
            raise UserError(
                f'{name}.{field}: a stage of kind {stage.kind} has no such setting'
                f'{meant_setting(field, defaults, name)}'
            )
    if schema.is_section(stage.get('tuning')):
        defaults['tuning'] = _tuning_fields(name, stage.tuning)
    schema.check_names(stage, defaults, name)
    schema.check_types(stage, defaults, name)


def _tuning_fields(stage: str, tuning: ConfigDict) -> dict[str, Any]:
    """The fields that the tuning of a stage may have, with their defaults; only the
    name must be there."""
    where = f'{stage}.tuning'
    schema.check_types(tuning, {'name': ''}, where)
    with configs.of_stage(stage):
        known = configs.tuning_config(tuning.name)
    schema.check_names(tuning, known, where)
    return {field: known[field] for field in tuning}
