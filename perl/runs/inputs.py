"""Records the inputs of a stage, so that a change of them is noticed.

A checkpoint carries the inputs of its stage, and a finished stage leaves them in
`stage.json` beside the fingerprint of what it made. Whoever exchanges the base, the
tokenizer, the data or an earlier stage in the middle of a run is told so.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

from perl import config as configs
from perl.config import kinds, lineage, rewards
from perl.runs.run import Run
from perl.system import jsonl, schema, sealed
from perl.system.errors import UserError

RECORD = 'stage.json'
# the files that say what a stage has made, by their digests or in full
_CARDS = (
    'base/model.json',
    'adapter/adapter.json',
    'value/adapter.json',
    'adapter.json',
    'adapter_config.json',
    'adapter_model.safetensors',
    'ensemble.json',
    'gate.safetensors',
)
# the weights that such a card describes; an adapter of PEFT has one in the list above
_WEIGHTS = {
    'base/model.json': 'base/model.safetensors',
    'adapter/adapter.json': 'adapter/adapter.safetensors',
    'value/adapter.json': 'value/adapter.safetensors',
}


def inputs(run: Run, stage: str) -> dict[str, Any]:
    """Fingerprints of what a stage reads, and the settings that it uses.

    Args:
        run: with its base, unless the stage makes it.
        stage: its name.

    Returns:
        config (seed, model, lengths and the stage's own), tokenizer, data (by kind and
        split), base ('' where the stage makes it), stages (those it starts from), and
        for a base from elsewhere the architecture, which its weights do not determine.
    """
    config = configs.to_json(run.config)
    model = {name: x for name, x in config['model'].items() if name != 'path'}
    found = {
        'config': {
            'seed': config['seed'],
            'model': model,
            'lengths': config['lengths'],
            stage: config[stage],
        },
        'tokenizer': run.tokenizer.fingerprint,
        'data': _data(run, stage),
        'base': run.base_id if kinds.of(run.config[stage]).makes != 'base' else '',
        'stages': {
            name: made(_folder(run, name)) for name in sorted(_reads(run.config, stage))
        },
    }
    if run.config.model.path:  # else the config says it
        found['architecture'] = dataclasses.asdict(run.arch)
        if not run.arch.holes:  # as records have it that are older than the field
            del found['architecture']['holes']
    return found


def made(folder: pathlib.Path) -> dict[str, str]:
    """The fingerprints of what a stage has made, by the files in its folder."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16]
        for name in _CARDS
        if (folder / name).is_file()
    }


def record(run: Run, stage: str) -> None:
    """Writes `stage.json` of a stage that is finished."""
    folder = run.workdir / stage
    values = {'inputs': inputs(run, stage), 'made': made(folder)}
    sealed.save(folder / RECORD, values)


def check(run: Run, stage: str, all_there: bool = True) -> list[str]:
    """One line for each input of a finished stage that has changed since it was
    trained.

    Args:
        run: with its base.
        stage: its name.
        all_there: whether everything that it made must be there.

    Raises:
        UserError: it was trained on another base or tokenizer, or what it made is no
            longer there as it was.
    """
    folder = run.workdir / stage
    anew = f'or remove {folder} to train {stage} again'
    if all_there:
        for card, weights in _WEIGHTS.items():
            if (folder / card).is_file() and not (folder / weights).is_file():
                raise UserError(f'{folder / weights} is gone; put it back, {anew}')
    values = _recorded(folder / RECORD)
    if values is None:  # finished by an older version
        return []
    before, now = values['inputs'], jsonl.plain(inputs(run, stage))
    for name in ('tokenizer', 'base'):
        if before.get(name) != now[name]:
            raise UserError(
                f'{folder} was trained on the {name} {before.get(name)}, this run has '
                f'{now[name]}; give the {name} it was trained on, {anew}'
            )
    left = made(folder)
    wanted = values['made'].keys() if all_there else set()
    for name in sorted(wanted | left.keys()):
        if values['made'].get(name) != left.get(name):
            raise UserError(
                f'{folder / name} is not what the stage {stage} has made; put that '
                f'back, {anew}'
            )
    return jsonl.differences(before, now)


def _recorded(file):
    """What `record` wrote, or None where it never did."""
    try:
        values = sealed.load(file)
        schema.check_fields(values, {'inputs': {}, 'made': {}})
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(
            f'{file} is damaged ({error}); put a copy back. You may remove it, but '
            'then nothing records what the stage was trained on'
        ) from None
    return values


def _data(run, stage):
    kind, splits = lineage.reads(run.config, stage)
    digests = {f'{kind}.{split}': run.data_fingerprint(kind, split) for split in splits}
    if run.config[stage].get('ptx_coefficient'):
        digests['text.train'] = run.data_fingerprint('text', 'train')
    return digests


def _reads(config, stage):
    """The stages, or folders, that a stage reads, and those that they are made of."""
    section, known = config[stage], configs.known_stages(config)
    names = {section.get('start'), section.get('reward'), *section.get('of', ())}
    if section.get('value_start') != 'reward':
        names.add(section.get('value_start'))
    if not rewards.by_models(section.get('reward', '')):
        names.discard(section.reward)
    names -= {'base', '', None}
    made_of = [_parts(config, name) for name in names if name in known]
    return names.union(*made_of)


def _parts(config, stage):
    of = config[stage].get('of', ())
    return {*of}.union(*(_parts(config, name) for name in of))


def _folder(run, name):
    own = name in configs.known_stages(run.config)
    return run.workdir / name if own else pathlib.Path(name)
