"""Folders that stages start from: whether the tunings fit, before anything runs."""

import pathlib

from ml_collections import ConfigDict

from perl import config as configs
from perl.adapters import bundle, peft
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.models.architecture import Architecture, parameters
from perl.runs import roles


def check(config: ConfigDict, arch: Architecture, tokenizer: Tokenizer) -> None:
    """Reads the adapter of each folder that a stage starts from. The base, which it
    must belong to, is not read.

    Args:
        config: of the run.
        arch: its decoder.
        tokenizer: its tokenizer.

    Raises:
        UserError: an adapter is damaged, of another tokenizer, or not of the tuning of
            the stage.
    """
    known = {'base', 'sft', *configs.known_stages(config)}
    for stage in config.stages:
        start = config[stage].get('start', 'base')
        if start in known or not pathlib.Path(start).is_dir():
            continue
        delta, tuning = _read(pathlib.Path(start), arch, tokenizer)
        kind = configs.tuning(config[stage].tuning, stage)
        if not kind.replaces_base:
            roles.fitting(delta, tuning, kind, parameters(arch), stage)


def _read(folder, arch, tokenizer):
    if peft.is_peft(folder):
        found = peft.read(folder, arch)
        return found.delta, found.tuning
    delta, card = bundle.load(folder, tokenizer=tokenizer.fingerprint)
    return delta, card.tuning
