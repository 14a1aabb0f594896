"""Reads, writes and compares a run's saved config; tells which stages have begun."""

import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.config import rules
from perl.system import jsonl, results, schema
from perl.system.errors import UserError

# may differ between the processes of one run: numbers do not depend on them
FREE = ('mesh', 'tensorboard', 'stages')
# settings of older versions, by their names then
RENAMED = {'parts': 'micro_batches', 'anchor_rate': 'ema_rate'}


def check(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Compares the config with the one that the folder was begun with.

    A stage that has not begun may change or be added.

    Raises:
        UserError: it differs; says where. Or the folder has files of the same names
            that no run has left.
    """
    now, before = configs.to_json(config), jsonl.load(workdir / 'config.json')
    if before and 'stages' not in before:
        raise UserError(
            f'{workdir / "config.json"} is not the config of a run; give another '
            '--workdir'
        )
    if not before and (workdir / 'tokenizer').exists() and not begun(now, workdir):
        raise UserError(
            f'{workdir / "tokenizer"} is there, but no run has begun in {workdir}; '
            'give another --workdir, or move that folder'
        )
    if not (before and begun(before, workdir)):
        return
    both = before | now
    ahead = {x for x in configs.known_stages(both) if not _left(workdir, x)}
    old, new = (
        {x: c.get(x) for x in both.keys() - {*FREE} - ahead} for c in (before, now)
    )
    lines = jsonl.differences(old, new)
    if lines and (renamed := _renamed(before)):
        raise UserError(
            f'{workdir} was begun with an older version of perl '
            f'({"; ".join(renamed[:8])}), which computed in another way; finish it '
            'with that version, or give another --workdir'
        )
    if lines:
        raise UserError(
            f'{workdir} was begun with another config ({"; ".join(lines[:8])}); '
            f'give the old values or another --workdir{_anew(old, new, workdir)}'
        )


def _anew(old, new, workdir):
    """How to train stages with the new values, where all that differs is of stages."""
    differ = [x for x in old if old[x] != new[x]]
    if not {*differ} <= {*configs.known_stages(old | new)}:
        return ''
    folders = ' '.join(str(workdir / x) for x in sorted(differ))
    return f', or remove {folders} to train {" and ".join(sorted(differ))} anew'


def saved(workdir: str | pathlib.Path) -> ConfigDict:
    """The config that a run folder has, locked.

    Raises:
        UserError: it has none, or what it has is damaged or breaks a rule.
    """
    file = pathlib.Path(workdir) / 'config.json'
    if not file.is_file():
        raise UserError(
            f'--workdir: {file} is not there; give the folder of a finished run'
        )
    values = jsonl.load(file)
    try:
        config = configs.from_json(values)
        rules.validate(config)
    except UserError as error:
        renamed = ''.join(f'; {line}' for line in _renamed(values)[:8])
        raise UserError(
            f'{file}: {error}{renamed}; it was edited or is of another version of '
            'perl, so put the old one back or train the run again'
        ) from None
    return config


def begun(config: Mapping[str, Any], workdir: pathlib.Path) -> bool:
    """Whether a stage of the run has left something."""
    left = (_left(workdir, name) for name in configs.known_stages(config))
    return bool(results.read(workdir)) or any(left)


def write(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Writes `config.json`, unless the file already has this content."""
    file, now = workdir / 'config.json', configs.to_json(config)
    if jsonl.load(file) != now:
        if not file.exists() and begun(config, workdir):
            print(f'{file} was removed; it is written again', flush=True)
        workdir.mkdir(parents=True, exist_ok=True)
        jsonl.save(file, now)


def _left(workdir, name):
    """Whether a stage has left something, be it a line of its first step; not where a
    person has removed its folder, though `results.json` still has its figures."""
    if pathlib.PurePath(name).name != name:  # an edited config; no stage is called so
        return False
    files = (file for file in (workdir / name).rglob('*') if file.is_file())
    return any(file.stat().st_size for file in files)


def _renamed(values, where=''):
    """One line for each setting that has another name now."""
    lines = []
    for name, value in values.items():
        path = schema.join(where, name)
        if name in RENAMED:
            lines.append(f'{path} is now called {RENAMED[name]}')
        if isinstance(value, dict):
            lines += _renamed(value, path)
        if name == 'method' and value == 'liti':
            lines.append(f'{path}=liti is now called interpolate_to_start')
    return lines
