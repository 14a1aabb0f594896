"""Whether every stage finds the stages that it goes on from, before any is trained."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from perl import config as configs
from perl.adapters import bundle
from perl.config import kinds, lineage
from perl.losses.algorithms import ALGORITHMS
from perl.runs import ensembles
from perl.system.errors import UserError


def check(config: Any, workdir: pathlib.Path, stages: Sequence[str] = ()) -> None:
    """Raises a `UserError` for the first stage that a setting names and that will not
    be there: it neither runs earlier nor is it finished in the run folder.

    Args:
        config: of the experiment, valid.
        workdir: the run folder; it need not exist.
        stages: those of the config's stages that this command runs; all by default.
    """
    wanted = [x for x in config.stages if x in (stages or config.stages)]
    known = configs.known_stages(config)
    for place, stage in enumerate(wanted):
        for setting, name in _named(config, stage):
            if name in wanted[:place] or (name in known and is_made(workdir, name)):
                continue
            where = f'{stage}.{setting}: the stage {name}'
            if name in lineage.earlier(config, stage):
                raise UserError(
                    f'{where} is not finished in {workdir} and this command does not '
                    f'run it; run the stage {name} first: '
                    f'--stages={",".join([name, *wanted])}'
                )
            raise UserError(
                f'{where} is neither an earlier one of stages '
                f'({", ".join(config.stages)}) nor finished in {workdir}; '
                f'{_mend(config, stage, setting, name)}'
            )


def is_made(workdir: pathlib.Path, stage: str) -> bool:
    """Whether a stage has left a whole adapter or ensemble in the run folder."""
    folder = workdir / stage
    return (folder / ensembles.CARD).is_file() or bundle.exists(folder / 'adapter')


def _named(config, stage) -> Iterator[tuple[str, str]]:
    """(setting, stage) of all that a stage goes on from, but for the base."""
    section, known = config[stage], configs.known_stages(config)
    named = [('of', name) for name in section.get('of', ())]
    named.append(('start', section.get('start', 'base')))
    named.append(('reward', section.get('reward', '')))
    if 'algorithm' in section and ALGORITHMS[section.algorithm].group is None:
        # `reward` is that of the setting above; other algorithms train no value
        value = section.value_start
        named.append(('value_start', 'base' if value == 'reward' else value))
    if section.get('reward') == 'model':
        named.append(('judge.model', section.judge.model))
    for setting, name in named:
        # SFT is one of an experiment, even where a config lacks its section
        if name in known or (setting.endswith('start') and name == 'sft'):
            yield setting, name


def _mend(config, stage, setting, name):
    """How a person adds the stage, or does without it."""
    others = [x for x in config.stages if x != name]
    place = others.index(stage)
    added = ','.join([*others[:place], name, *others[place:]])
    without = {
        'start': f'set {stage}.start=base',
        'value_start': f'set {stage}.value_start=base',
        'reward': 'name another reward (gold, module:function or a folder)',
    }.get(setting, 'name another')
    if setting == 'reward' and not kinds.of(config[stage]).trained_by_reward:
        without = f"set {stage}.reward='', so that no reward scores it"
    return f'add it with --config.stages={added}, or {without}'
