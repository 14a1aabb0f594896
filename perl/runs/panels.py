"""Panels of a run: whatever a name stands for, one reward model or several."""

import pathlib
from collections.abc import Sequence

import jax

from perl import config as configs
from perl.adapters import bundle
from perl.judges import panel
from perl.judges.mixture import GATED, fresh
from perl.judges.panel import Panel
from perl.runs.roles import Role
from perl.runs.run import Run
from perl.system import arrays, disk, jsonl
from perl.system.errors import UserError

CARD, GATE = 'ensemble.json', 'gate.safetensors'


def load_panel(run: Run, name: str) -> Panel:
    """The judge of that name.

    Args:
        run: with its base.
        name: a stage of kind reward, average or ensemble, the folder of an ensemble, or
            an adapter folder; one reward model is a panel of one.

    Raises:
        UserError: it is not there, damaged, no reward model, or of another base.
    """
    folder = _folder(run, name)
    if folder is None:
        return panel.build([run.reward_role(name)])
    said, gate = _read(folder, name)
    own = folder.parent == run.workdir
    places = said['of'] if own else [folder.parent / x / 'adapter' for x in said['of']]
    made = panel.build(
        members(run, places),
        said['combine'],
        said['deviations'],
        gate,
        said['shift'],
        said['scale'],
    )
    if gate:
        count, width = len(said['of']), run.arch.width
        if _shapes(gate) != _shapes(fresh(run.arch, said['combine'], count)):
            raise UserError(
                f'{name}: the gate in {folder} is not one of {count} members of width '
                f'{width}; train or copy it again'
            )
    return made


def judge(run: Run, name: str) -> Role | Panel:
    """The same, but one reward model as its role, whose rewards are raw."""
    if _folder(run, name) is None:
        return run.reward_role(name)
    return load_panel(run, name)


def exists(run: Run, stage: str) -> bool:
    """Whether a stage has left a whole reward model or ensemble."""
    folder = run.workdir / stage
    return (folder / CARD).is_file() or bundle.exists(folder / 'adapter')


def members(run: Run, names: Sequence[str | pathlib.Path]) -> list[Role]:
    """The reward models of these stages or folders."""
    return [run.reward_role(str(name)) for name in names]


def save_panel(run: Run, stage: str, made: Panel) -> None:
    """Writes an ensemble; its card comes last, so that with a card it is whole.

    The members stay where they are: the card has the names of their stages.
    """
    folder = run.workdir / stage
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    if made.gate is not None:
        arrays.save(folder / GATE, jax.device_get(made.gate))
    card = {
        'of': list(run.config[stage].of),
        'combine': made.combine,
        'deviations': float(made.deviations),
        'shift': float(made.shift),
        'scale': float(made.scale),
    }
    jsonl.save(folder / CARD, card)


def _folder(run, name):
    """The folder of an ensemble, or None for what has an adapter of its own."""
    if name not in configs.known_stages(run.config):
        return pathlib.Path(name) if (pathlib.Path(name) / CARD).is_file() else None
    if 'combine' not in run.config[name]:
        return None
    folder = run.workdir / name
    if not (folder / CARD).is_file():
        raise UserError(
            f'{name}: {folder} has no ensemble yet; run the stage {name} first '
            f'(--stages={name})'
        )
    return folder


def _read(folder, name):
    try:
        said = jsonl.parse((folder / CARD).read_bytes())
        missing = {'of', 'combine', 'deviations', 'shift', 'scale'} - said.keys()
        if missing:
            raise ValueError(f'no {min(missing)}')
        gate = arrays.load(folder / GATE) if said['combine'] in GATED else None
    except FileNotFoundError as error:
        raise UserError(
            f'{name}: {error.filename} is not there; copy it again'
        ) from None
    except OSError as error:
        raise UserError(
            f'{name}: {error.filename or folder} cannot be read: {error.strerror}; '
            f'{disk.mend(error)}'
        ) from None
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f'{name}: {folder / CARD} or its gate is damaged ({error}); train or copy '
            'it again'
        ) from None
    return said, gate


def _shapes(gate):
    return {name: x.shape for name, x in gate.items()}
