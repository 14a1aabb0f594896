"""The names of stages: in a config, and after `--stages`."""

import re
from collections.abc import Sequence

from ml_collections import ConfigDict

from perl import config as configs
from perl.judges.names import KNOWN
from perl.system.errors import UserError
from perl.system.suggest import meant, misspelled

_DEFAULTS = configs.experiment('')
# what flags, settings and folders of a run call something else
_TAKEN = ('base', *KNOWN, 'plots', 'tables')


def check(name: str) -> None:
    """Raises a `UserError` unless a stage can have this name, which flags use and which
    its folder has."""
    if not re.fullmatch(r'\w[\w-]*', name):
        raise UserError(
            f'{name!r:.60}: the name of a stage has letters, digits, _ and - only; '
            'rename it'
        )
    if name in _TAKEN:
        raise UserError(
            f'{name}: a stage cannot have this name, which stands for something else '
            'in settings or in the run folder; rename it'
        )


def check_use(config: ConfigDict, name: str) -> None:
    """Raises a `UserError` if the section of a stage that neither runs nor is of
    `experiment` has a name that seems to be a misspelling of one that is."""
    if name in config.stages or name in _DEFAULTS.stages:
        return
    # of the stages that every config begins with: other names may be alike on purpose
    known = sorted({*_DEFAULTS.stages} & {*config})
    if near := misspelled(name, known):
        raise UserError(
            f'{name}: no stage uses this section; did you mean {near!r}? If it is a '
            'stage, name it in stages, or give it another name'
        )


def check_chosen(config: ConfigDict, names: Sequence[str] | None) -> None:
    """Raises a `UserError` if the chosen stages are empty, or one is not run by the
    config; None chooses all."""
    if names is None:
        return
    runs = ', '.join(config.stages)
    if not names:
        raise UserError(
            '--stages: it names no stage; write --stages='
            f'{",".join(config.stages[:2])}, for example, to run some of {runs}, or '
            'leave the flag out to run all of them'
        )
    for name in names:
        if name not in config.stages:
            known = configs.known_stages(config)
            add = ','.join([*config.stages, name])
            raise UserError(
                f'--stages: {name!r} is not among the stages that this config runs '
                f'({runs})'
                + (
                    f'; add it with --config.stages={add}'
                    if name in known
                    else meant(name, config.stages)
                )
            )
