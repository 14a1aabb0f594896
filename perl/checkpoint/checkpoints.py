"""Checkpoints of a stage, written atomically and with checksums.

Orbax writes the arrays in the calling thread into the folder of a step
(`perl.checkpoint.steps`). Later damage is detected when the step is restored.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from perl.checkpoint import seal
from perl.checkpoint.leaves import (
    abstract,
    check_structure,
    few,
    flatten,
    like,
)
from perl.checkpoint.quiet import quiet
from perl.checkpoint.steps import Steps
from perl.system import disk, hosts, jsonl
from perl.system.errors import UserError


class Checkpoints:
    """The newest checkpoints of one stage, by step, in one folder."""

    def __init__(
        self,
        folder: str | os.PathLike,
        keep: int = 2,
        inputs: Mapping[str, Any] | None = None,
    ):
        """Opens a folder, which need not exist yet.

        Args:
            folder: of the checkpoints, one subfolder each, in the folder of a stage.
            keep: number of checkpoints to keep; two leave one if the newest is damaged.
            inputs: what the state is computed from, as JSON values. A checkpoint with
                other inputs is refused. None compares nothing.
        """
        self._steps = Steps(folder)
        self._folder = self._steps.folder
        self._keep = keep
        self._inputs = jsonl.plain(inputs)
        self._damaged: set[int] = set()
        self._orbax = ocp.Checkpointer(ocp.StandardCheckpointHandler())

    def save(self, step: int, state: Any, extra: dict[str, Any] | None = None) -> None:
        """Writes the state after `step`, then removes all but the `keep` newest.

        Args:
            step: the last step that the state includes.
            state: any pytree of arrays and scalars.
            extra: JSON values to store with it.

        Raises:
            UserError: the disk is full, or the folder cannot be written; earlier
                checkpoints are intact.
        """
        arrays = {
            name: x if isinstance(x, jax.Array) else np.asarray(x)
            for name, x in flatten(state).items()
        }
        described = {name: seal.describe(x) for name, x in arrays.items()}
        folder = self._steps.unfinished(step)
        try:
            hosts.first(self._steps.prepare)
            args = ocp.args.StandardSave(arrays)
            with quiet():
                self._orbax.save(folder / 'state', args=args)
            hosts.first(lambda: self._finish(step, described, extra or {}))
        except Exception as error:
            self._steps.clean()
            cause = disk.as_os_error(error)
            if cause is None:
                raise
            what = f'could not save step {step} to {self._folder}'
            raise disk.user_error(what, cause, self._intact()) from error
        hosts.first(lambda: self._steps.retain(self._keep, self._damaged - {step}))
        self._damaged = set()

    def latest(self) -> int | None:
        """The newest step in the folder (may be damaged), or None."""
        return max(self._steps.finished(), default=None)

    def restore(self, example: Any) -> tuple[Any, dict[str, Any], int] | None:
        """The newest undamaged checkpoint, or None if none was ever saved.

        Args:
            example: a pytree with the state's structure, shapes and dtypes: arrays or
                `jax.ShapeDtypeStruct`. A leaf with a sharding is restored with it; the
                mesh at the time of writing does not matter.

        Returns:
            The state, the extra values, and the step.

        Raises:
            UserError: the checkpoint has other inputs or another state structure, it
                cannot be read, or all checkpoints are damaged or missing.
        """
        hosts.first(self._steps.clean)
        steps, reasons = self._steps.finished(), {}
        last = self._steps.last()
        if last is not None and last > max(steps, default=-1):
            reasons[last] = 'it is missing'
        for step in sorted(steps, reverse=True):
            try:
                state, extra = self._load(step, example)
            except seal.Damaged as error:
                reasons[step] = str(error)
                continue
            except OSError as error:
                raise UserError(
                    f'checkpoint {error.filename or self._steps.at(step)} cannot '
                    f'be read: {error.strerror}; {disk.mend(error)}, and run the same '
                    'command again: no file was removed'
                ) from None
            if reasons:
                self._damaged = set(reasons)
                self._say(reasons, step)
            return state, extra, step
        if reasons:
            raise UserError(
                f'checkpoints: every one in {self._folder} is damaged or missing '
                f'({_listed(reasons)}); put a copy back, or {self._anew()}'
            )
        return None

    def close(self) -> None:
        """Releases the resources of orbax."""
        self._orbax.close()

    def _load(self, step, example):
        folder = self._steps.at(step)
        card = _card(folder)
        self._check_inputs(card['inputs'], folder)
        wanted = flatten(example)
        check_structure(card['arrays'], wanted, folder)
        args = ocp.args.StandardRestore({k: abstract(x) for k, x in wanted.items()})
        state = self._orbax.restore(folder / 'state', args=args)
        bad = [k for k, x in state.items() if seal.describe(x) != card['arrays'][k]]
        if bad:
            raise seal.Damaged(f'the checksum of {few(bad)} differs')
        leaves = [like(x, state[k]) for k, x in wanted.items()]
        return jax.tree.structure(example).unflatten(leaves), card['extra']

    def _check_inputs(self, saved, folder):
        if self._inputs is None:
            return
        if saved is None:
            raise UserError(
                f'checkpoint {folder} was written by an older version of perl, which '
                f'computed differently; finish the run with that version, or '
                f'{self._anew()}'
            )
        lines = jsonl.differences(saved, self._inputs)
        if lines:
            raise UserError(
                f'checkpoint {folder} was made from other inputs '
                f'({"; ".join(lines[:8])}); restore the old inputs, or {self._anew()}'
            )

    def _anew(self):
        stage = self._folder.parent
        return f'remove {stage} to train {stage.name} from the beginning'

    def _finish(self, step, described, extra):
        seal.write(self._steps.unfinished(step), described, extra, self._inputs)
        self._steps.finish(step)

    def _intact(self):
        good = max(set(self._steps.finished()) - self._damaged, default=None)
        return 'no earlier step was saved' if good is None else f'step {good} is intact'

    def _say(self, reasons, step):
        text = f'DAMAGED CHECKPOINT in {self._folder}: {_listed(reasons)}; '
        if hosts.is_first():
            print(f'{text}going on from step {step}', file=sys.stderr, flush=True)


def _card(folder):
    """The card of a checkpoint, whose files the first process reads for all."""
    card, damage = None, None
    try:
        card = seal.read(folder, files=hosts.is_first())
    except seal.Damaged as error:
        damage = error
    if hosts.agreed(damage is not None):
        raise damage or seal.Damaged('another process finds it damaged')
    return card


def _listed(reasons):
    return '; '.join(f'step {step}: {reason}' for step, reason in reasons.items())
