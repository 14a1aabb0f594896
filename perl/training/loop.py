"""The settings of a stage's training that `fit` needs for every step."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from perl.system.interrupt import Interrupt
from perl.training.compiled import Compiled


@dataclasses.dataclass(frozen=True)
class Loop:
    """How many steps a stage takes, and what is done between them.

    Attributes:
        folder: of the stage: `metrics.jsonl` and `checkpoints/` go there.
        steps: where to end.
        save_every: steps between checkpoints; the last step is always saved.
        interrupt: asked after each step whether to stop.
        inputs: what the state is computed from, see `perl.checkpoint.Checkpoints`.
        begin: called before the first step of this process, when nothing was refused.
        evaluate: figures of a state after a step, joined to that step's metrics.
        evaluate_start: figures of the state before the first step; they join the line
            of step 1, as `start_...`.
        eval_every: steps between evaluations; 0 evaluates after the last.
        program: the compiled update; its peak memory is reported.
        memory: a dict that is saved with the state and put back on a resume.
        tensorboard: also write event files.
        shown: metrics in the progress bar.
        before_update: metrics that a step measures before its update; where they are
            not finite at the first step, learning is not the cause.
    """

    folder: pathlib.Path
    steps: int
    save_every: int
    interrupt: Interrupt
    inputs: Mapping[str, Any] | None = None
    begin: Callable[[], None] | None = None
    evaluate: Callable[[Any, int], dict[str, float]] | None = None
    evaluate_start: Callable[[Any], dict[str, float]] | None = None
    eval_every: int = 0
    program: Compiled | None = None
    memory: dict[str, Any] = dataclasses.field(default_factory=dict)
    tensorboard: bool = False
    shown: tuple[str, ...] = ('loss',)
    before_update: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The stage."""
        return self.folder.name

    def evaluates(self, done: int) -> bool:
        """Whether figures are measured after `done` steps."""
        every = self.eval_every and done % self.eval_every == 0
        return bool(self.evaluate and (done == self.steps or every))

    def saves(self, done: int) -> bool:
        """Whether a checkpoint is due after `done` steps."""
        return done == self.steps or done % self.save_every == 0
