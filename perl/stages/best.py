"""The best role so far by a validation figure, kept on disk."""

import dataclasses
from typing import Any

import jax

from perl.adapters import bundle
from perl.runs.roles import Role, card
from perl.runs.run import Run
from perl.system.errors import UserError


class Best:
    """Keeps the role whose figure is largest, in `<stage>/best`.

    Attributes:
        memory: the figure and its step; a checkpoint keeps it.
    """

    def __init__(self, run: Run, stage: str, figure: str | None):
        """Without a figure nothing is kept, and the last role is the chosen one."""
        self.run, self.stage, self.figure = run, stage, figure
        self.memory: dict[str, Any] = {'best': None}

    def offer(self, figures: dict[str, float], step: int, role: Role) -> None:
        """Takes the role after `step` if its figure is the largest yet."""
        if self.figure not in figures:
            return
        figure, best = figures[self.figure], self.memory['best']
        if best is None or figure > best:
            self.memory.update(best=figure, best_step=step)
            kind = self.run.config[self.stage].kind
            said = card(role, kind, self.run.tokenizer.fingerprint)
            bundle.save(self._folder, jax.device_get(role.delta), said)

    def choose(self, last: Role) -> Role:
        """The best role, or the last where nothing was kept.

        Raises:
            UserError: the best role is gone or damaged.
        """
        if self.memory['best'] is None:
            return last
        try:
            tokenizer = self.run.tokenizer.fingerprint
            delta, _ = bundle.load(self._folder, last.base_id, tokenizer)
        except UserError as error:
            stage = self.run.workdir / self.stage
            raise UserError(
                f'{self.stage}: the best weights, of step {self.memory["best_step"]}, '
                f'cannot be read from {self._folder}, and no checkpoint has them: put '
                f'that folder back, or remove {stage} to train {self.stage} from the '
                f'beginning ({error})'
            ) from None
        return self.run.place(dataclasses.replace(last, delta=delta))

    @property
    def _folder(self):
        return self.run.workdir / self.stage / 'best'
