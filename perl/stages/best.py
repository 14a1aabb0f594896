"""The best role so far by a validation figure, kept on disk."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from perl.adapters import bundle
from perl.runs.roles import Role
from perl.system.errors import UserError


class Best:
    """Keeps the role whose figure is largest, in `<stage>/best`.

    Attributes:
        memory: the figure and its step; a checkpoint keeps it.
    """

    def __init__(
        self,
        stage: pathlib.Path,
        figure: str | None,
        card: Callable[[Role], bundle.Card],
        place: Callable[[Role], Role],
    ):
        """Keeps nothing yet.

        Args:
            stage: the folder of the stage.
            figure: its name. Without one nothing is kept, and the last role is the
                chosen one.
            card: what the bundle of a role says of it.
            place: puts a role that was read on the mesh.
        """
        self._stage, self._folder, self._figure = stage, stage / 'best', figure
        self._card, self._place = card, place
        self.memory: dict[str, Any] = {'best': None}

    def offer(self, figures: dict[str, float], step: int, role: Role) -> None:
        """Takes the role after `step` if its figure is the largest yet."""
        if self._figure not in figures:
            return
        figure, best = figures[self._figure], self.memory['best']
        if best is None or figure > best:
            self.memory.update(best=figure, best_step=step)
            bundle.save(self._folder, role.delta, self._card(role))

    def choose(self, last: Role) -> Role:
        """The best role, or the last where nothing was kept.

        Raises:
            UserError: the best role is missing or damaged.
        """
        if self.memory['best'] is None:
            if self._figure:
                print(
                    f'{self._stage.name}: keep_best: the validation split never gave '
                    f'{self._figure}, for no label of it decides; the last weights are '
                    'kept'
                )
            return last
        try:
            tokenizer = self._card(last).tokenizer
            delta, _ = bundle.load(self._folder, last.base_id, tokenizer)
        except UserError as error:
            name = self._stage.name
            raise UserError(
                f'{name}: the best weights, of step {self.memory["best_step"]}, '
                f'cannot be read from {self._folder}, and no checkpoint has them: put '
                f'that folder back, or remove {self._stage} to train {name} from the '
                f'beginning ({error})'
            ) from None
        return self._place(dataclasses.replace(last, delta=delta))
