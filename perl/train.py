"""Runs the stages of an experiment in order; each resumes by itself.

    python -m perl.train --config=configs/quickstart.py --workdir=runs/quickstart

`--stages=sft,reward` runs some of them, `--check` builds everything and trains nothing,
`--config.policy.steps=10` changes a value. In a notebook:

    result = perl.train.run(perl.train.load_config('configs/quickstart.py'), 'runs/q')
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict

from perl import check, report
from perl import config as configs
from perl.config import kinds, rules, stage_names
from perl.report import drawing, run_folder, summary
from perl.runs import (
    half_precision,
    inputs,
    prerequisites,
    reward_models,
    same_run,
    shared_files,
)
from perl.runs.base import open_base
from perl.runs.opening import begin_run
from perl.runs.run import Run
from perl.stages.headline import headline
from perl.stages.table import STAGES
from perl.system import (
    atomic,
    cli,
    hosts,
    joining,
    lock,
    memory,
    metrics,
    results,
)
from perl.system.interrupt import Stopped

load_config = configs.load_config


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left behind.

    Attributes:
        workdir: the run folder.
        figures: the content of `results.json`.
    """

    workdir: pathlib.Path
    figures: dict[str, Any]

    def __repr__(self) -> str:
        return f'Result({str(self.workdir)!r}: {", ".join(self.figures)})'

    def _repr_markdown_(self) -> str:
        """A line for each stage, which a notebook shows."""
        lines = {name: summary.one_line(x) for name, x in self.figures.items()}
        return '\n'.join(f'- **{name}**: {line}' for name, line in lines.items())

    @property
    def metrics(self) -> dict[str, list[dict]]:
        """Every line of each stage's `metrics.jsonl`."""
        stages = [name for name in self.figures if (self.workdir / name).is_dir()]
        return {name: metrics.read(self.workdir / name) for name in stages}

    def plot(self) -> report.Pictures:
        """Draws the report's pictures again; a notebook shows the returned value."""
        report.write(self.workdir)
        return report.pictures(self.workdir)


def run(
    config: ConfigDict,
    workdir: str | pathlib.Path | None = None,
    stages: Sequence[str] | None = None,
) -> Result:
    """Runs the stages that are not finished yet.

    Args:
        config: of an experiment.
        workdir: `runs/<name>` by default.
        stages: some of the config's, in its order; all by default.

    Raises:
        UserError: anything that a person has to mend.
        Stopped: SIGTERM or Ctrl-C; everything is saved.
    """
    rules.validate(config)
    same_run.check_config(config, stages)
    workdir = pathlib.Path(workdir or pathlib.Path('runs') / config.name)
    stage_names.check_chosen(config, stages)
    prerequisites.check(config, workdir, stages or ())
    wanted = config.stages if stages is None else stages
    with lock.exclusive(workdir) as held:
        same_run.check_folder(workdir)
        config = half_precision.resolve(config, workdir)
        hosts.first(lambda: atomic.sweep_below(workdir))
        opened = begin_run(config, workdir)
        same_run.check_inputs(opened)
        _run_stages(opened, wanted, held)
        drawing.draw(workdir)
        held.check()
        for note in run_folder.read(workdir).notes:
            print(f'report: left out, could not be read: {note}', file=sys.stderr)
    return Result(workdir, results.read(workdir))


def _run_stages(opened: Run, wanted: Sequence[str], held: lock.Held) -> None:
    with jax.set_mesh(opened.mesh), opened.interrupt as interrupt:
        for name in opened.config.stages:
            if name not in wanted:
                continue
            if not _is_finished(opened, name):
                _run_stage(opened, name, held)
            if hosts.agreed(interrupt.requested):
                raise Stopped(f'stopped after {name}')


def _is_finished(opened: Run, name: str) -> bool:
    """Whether a stage was finished before and its output is there.

    Raises:
        UserError: it was made from other inputs than it would be made from now.
    """
    if kinds.of(opened.config[name]).makes != 'base' and opened.base is None:
        open_base(opened)
        hosts.check_same({'base': opened.base_id})
    if not hosts.as_first(name in results.read(opened.workdir)):
        return False
    if hosts.as_first(reward_models.exists(opened, name)):
        lines = inputs.check(opened, name)
        since = f'; since then: {"; ".join(lines[:8])}' if lines else ''
        print(f'{name}: finished before{since}', flush=True)
        return True
    gone = f'its output in {opened.workdir / name} is missing'
    print(f'{name}: finished before, but {gone}; it is trained again', flush=True)
    results.forget(opened.workdir, name)
    return False


def _run_stage(opened: Run, name: str, held: lock.Held) -> None:
    stage = opened.config[name]
    print(f'{name}: {headline(stage, opened.leaves)}', flush=True)
    memory.begin()
    figures = STAGES[stage.kind].run(opened, name)
    held.check()
    if kinds.of(stage).trains(stage):  # evaluation after the last step takes minutes
        metrics.check(opened.workdir / name)
    opened.record_sitting()
    hosts.first(lambda: inputs.record(opened, name))
    results.write(opened.workdir, name, figures, opened.config.stages)
    hosts.first(lambda: shared_files.check(opened, name))
    print(f'{name}: finished: {summary.one_line(figures)}', flush=True)
    drawing.draw(opened.workdir)


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    del argv
    values = flags.FLAGS
    config, workdir = values.config, values.workdir or None
    joining.join_by_flags()
    if values.check:
        check.show(config, workdir, values.stages, values.json)
        return
    result = run(config, workdir, values.stages)
    print(f'report: {result.workdir / "report.md"}')


def define_flags() -> None:
    """The flags of the command; only a process that runs it has them."""
    check.define_flags()
    joining.define_flags()
    flags.DEFINE_bool('check', False, 'build everything, train nothing')


if __name__ == '__main__':
    define_flags()
    cli.run(main, required=('config',))
