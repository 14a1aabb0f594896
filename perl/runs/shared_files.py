"""The files that all stages of a run share; writes lost ones again.

A process has the config and the tokenizer in memory, so that what was removed meanwhile
is written again. What was exchanged is never overwritten: a person may want it.
"""

import pathlib
import shutil

from perl import config as configs
from perl.data import tokenizers
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.runs import saved_config
from perl.runs.run import Run
from perl.runs.tokenizer import keep
from perl.system import jsonl
from perl.system.errors import UserError


def check(run: Run, stage: str) -> None:
    """Checks after a stage the files that were there before it, and prints one line
    about those that were removed and are written again.

    Raises:
        UserError: `config.json` or `tokenizer/` is not that of this run. The stage is
            finished and stays so.
    """
    _check_config(run, stage)
    folder = run.workdir / 'tokenizer'
    if not folder.exists():
        keep(run.tokenizer, folder)
        _say(f'{folder} was removed while {stage} trained; it is written again')
    elif _fingerprint(folder) != run.tokenizer.fingerprint:
        raise UserError(
            f'{folder} was changed while {stage} trained, which is finished; put the '
            'old one back, or remove the folder, and it is written again'
        )


def begin(run: Run) -> None:
    """Writes the config and the tokenizer of a run of which no stage has begun; those
    of an earlier start, which may have had other settings, go."""
    saved_config.write(run.config, run.workdir)
    folder = run.workdir / 'tokenizer'
    shutil.rmtree(folder, ignore_errors=True)
    keep(run.tokenizer, folder)


def restore_tokenizer(workdir: pathlib.Path) -> None:
    """Copies the tokenizer of a run that has begun from its base, where the run's own
    was removed."""
    folder, copy = workdir / 'tokenizer', workdir / 'pretrain' / 'base' / 'tokenizer'
    if not folder.exists():
        source = f'from {copy}' if copy.is_dir() else 'as the config says'
        if copy.is_dir():
            keep(tokenizers.load(copy), folder)
        _say(f'{folder} was removed; it is written again, {source}')


def _check_config(run, stage):
    file, now = run.workdir / 'config.json', configs.to_json(run.config)
    if not file.exists():
        saved_config.write(run.config, run.workdir)
        return
    if lines := jsonl.differences(jsonl.load(file), now):
        raise UserError(
            f'{file} was changed while {stage} trained, which is finished '
            f'({"; ".join(lines[:8])}); put the old one back, or remove it, and it is '
            'written again'
        )


def _fingerprint(folder: pathlib.Path) -> str:
    try:
        tokenizer: Tokenizer = tokenizers.load(folder)
    except UserError:  # damaged
        return ''
    return tokenizer.fingerprint


def _say(line):
    print(line, flush=True)
