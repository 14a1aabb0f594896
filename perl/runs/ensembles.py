"""An ensemble of reward models on the disk: its card, and its gate where it has one."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax

from perl.config.fields import COMBINATIONS
from perl.judges.mixture import GATED
from perl.judges.panel import Panel
from perl.system import arrays, disk, hosts, placement, schema, sealed
from perl.system.errors import UserError
from perl.system.suggest import one_of

CARD, GATE = 'ensemble.json', 'gate.safetensors'
# what the card has, with values of the right types: `gate` is the digest of its file
_FIELDS = {
    'of': (),
    **dict.fromkeys(('combine', 'gate'), ''),
    **dict.fromkeys(('deviations', 'shift', 'scale'), 0.0),
}


def save(folder: pathlib.Path, ensemble: Panel, of: Sequence[str]) -> None:
    """Writes an ensemble; its card is written last, so that with a card it is whole.

    The members stay where they are: the card has `of`, the names of their stages.
    """
    gate = placement.fetch(ensemble.gate)
    hosts.first(lambda: _save(folder, ensemble, gate, of))


def _save(folder, ensemble, gate, of):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    if gate is not None:
        arrays.save(folder / GATE, gate)
    card = {
        'of': list(of),
        'combine': ensemble.combine,
        'deviations': float(ensemble.deviations),
        'shift': float(ensemble.shift),
        'scale': float(ensemble.scale),
        'gate': arrays.digest(folder / GATE) if gate is not None else '',
    }
    sealed.save(folder / CARD, card)


def read(
    folder: pathlib.Path, name: str
) -> tuple[dict[str, Any], dict[str, jax.Array] | None]:
    """The card of an ensemble, and its gate (of the shapes that `mixture.fresh` makes),
    or None where it has none.

    Args:
        folder: that `save` wrote.
        name: of the ensemble, for errors.

    Raises:
        UserError: it is not there, cannot be read, or is damaged.
    """
    try:
        card = {'gate': '', **sealed.load(folder / CARD)}  # older cards have none
        schema.check_fields(card, _FIELDS)
        one_of('combine', card['combine'], *COMBINATIONS)
        if not card['of'] or card['scale'] <= 0:
            raise ValueError('it has no members, or a scale that is not above 0')
        gate = None
        if card['combine'] in GATED:
            gate = arrays.load(folder / GATE, card['gate'] or None)
    except FileNotFoundError as error:
        lost = error.filename
        raise UserError(f'{name}: {lost} is not there; copy it again') from None
    except OSError as error:
        raise UserError(
            f'{name}: {error.filename or folder} cannot be read: {error.strerror}; '
            f'{disk.mend(error)}'
        ) from None
    except ValueError as error:
        raise UserError(
            f'{name}: {folder / CARD} or its gate is damaged ({error}); train or copy '
            'it again'
        ) from None
    return card, gate
