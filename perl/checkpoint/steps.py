"""The folder of a stage's checkpoints: a subfolder for each step.

A checkpoint is written into a temporary folder, which is renamed when it is complete.
So a folder named by a step was complete once, even if the process was killed. A file
beside the folder holds the number of the last step, so that the loss of the folder is
detected too.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Collection

from perl.system import atomic, hosts, jsonl


class Steps:
    """The folders of finished steps, and of those that are being written."""

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder).absolute()
        self._last = self.folder.with_name(f'{self.folder.name}.json')

    def at(self, step: int) -> pathlib.Path:
        """The folder of a finished step."""
        return self.folder / str(step)

    def unfinished(self, step: int) -> pathlib.Path:
        """The folder in which a step is written."""
        return self.folder / f'{step}.tmp'

    def finished(self) -> list[int]:
        """The steps that have a folder, in any order."""
        if not self.folder.is_dir():
            return []
        return [int(p.name) for p in self.folder.iterdir() if _is_step(p.name)]

    def last(self) -> int | None:
        """The last step that was finished, whether or not its folder is still there."""
        step = jsonl.load(self._last).get('step')
        return step if isinstance(step, int) else None

    def prepare(self) -> None:
        """Makes the folder, without the remains of interrupted saves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clean()

    def finish(self, step: int) -> None:
        """Gives a complete folder the name of its step."""
        if self.at(step).exists():  # a damaged checkpoint that a resume skipped
            self.remove(step)
        # written before the rename, since the disk may be full; moved into place after
        with atomic.replacing(self._last) as new:
            new.write_text(json.dumps({'step': step}))
            self.unfinished(step).rename(self.at(step))

    def remove(self, step: int) -> None:
        """Marks the folder of a step for `clean`."""
        # renamed first: a partly deleted folder must never have a step's name
        self.at(step).rename(self.folder / f'{step}.removed')

    def retain(self, newest: int, damaged: Collection[int]) -> None:
        """Removes all but the newest steps that are not damaged."""
        steps = set(self.finished())
        for step in steps - set(sorted(steps - set(damaged))[-newest:]):
            self.remove(step)
        self.clean()

    def clean(self) -> None:
        """Removes the remains of interrupted saves; never a finished step."""
        if hosts.is_first() and self.folder.is_dir():
            for kind in ('tmp', 'removed'):
                for path in self.folder.glob(f'*.{kind}'):
                    shutil.rmtree(path, ignore_errors=True)


def _is_step(name):
    return name.isascii() and name.isdigit()
