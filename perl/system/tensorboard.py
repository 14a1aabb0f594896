"""Writes figures to event files for TensorBoard."""

import os
from collections.abc import Mapping

from perl.system.errors import UserError


class TensorBoard:
    """Writes event files with tensorboardX."""

    def __init__(self, folder: str | os.PathLike):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UserError(
                'tensorboard: tensorboardX is not installed; '
                "pip install 'perl[track]' or set tensorboard to False"
            ) from None
        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Writes the figures of a step."""
        for name, x in figures.items():
            self._writer.add_scalar(name, x, step)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()
