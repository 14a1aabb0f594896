"""The adapter bundle: one folder that cannot lose its head, scale or base.

`adapter.safetensors` holds every trained array (factors, heads, or all weights where
tuning is full); `adapter.json` says what they are: role, tuning, scale of each pair,
reward normalisation, the fingerprints of the base and tokenizer they belong to, and the
digest of their file.
"""

import dataclasses
import pathlib
from typing import Any

from perl.adapters import serial
from perl.adapters.tunings import Tuning, create
from perl.system import arrays as files
from perl.system import disk, hosts, placement, schema, sealed
from perl.system.errors import UserError

CARD, ARRAYS = 'adapter.json', 'adapter.safetensors'

# what the card has, with values of the right types
_FIELDS = {
    **dict.fromkeys(('role', 'base', 'tokenizer', 'sha256'), ''),
    **dict.fromkeys(('shift', 'scale'), 0.0),
    'tuning': {},
    'adapters': {},
    'chat': False,
}


@dataclasses.dataclass(frozen=True)
class Card:
    """What `adapter.json` says beside the scales.

    Attributes:
        role: sft, reward, policy or value.
        tuning: how it was trained.
        base: fingerprint of the base it sits on.
        tokenizer: fingerprint of the tokenizer.
        shift, scale: rewards are reported as `(raw - shift) / scale`.
        chat: whether it was trained on messages, rendered with a chat template.
    """

    role: str
    tuning: Tuning
    base: str
    tokenizer: str
    shift: float = 0.0
    scale: float = 1.0
    chat: bool = False


def save(folder: pathlib.Path, delta: Any, card: Card) -> None:
    """Writes a bundle; the card comes last, so a bundle with a card is whole.

    The arrays may be on a mesh, of which each process has a part.
    """
    delta = placement.fetch(delta)
    hosts.first(lambda: _write(folder, delta, card))


def _write(folder, delta, card):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    arrays, adapters = serial.take_apart(delta)
    files.save(folder / ARRAYS, arrays)
    digest = files.digest(folder / ARRAYS)
    values = dataclasses.asdict(card)
    sealed.save(folder / CARD, {**values, 'adapters': adapters, 'sha256': digest})


def exists(folder: pathlib.Path) -> bool:
    """Whether a whole bundle is there."""
    return (folder / CARD).is_file()


def load(
    folder: pathlib.Path, base: str | None = None, tokenizer: str | None = None
) -> tuple[Any, Card]:
    """The delta and its card.

    Args:
        folder: that `save` wrote.
        base: fingerprint of the base that it is for; checked when given.
        tokenizer: fingerprint of its tokenizer; checked when given.

    Raises:
        UserError: missing, damaged, or trained on another base or tokenizer.
    """
    try:
        card, adapters, digest = _read(folder / CARD)
        arrays = files.load(folder / ARRAYS, digest)
        delta = serial.put_together(arrays, adapters, card.tuning)
    except FileNotFoundError as error:
        raise UserError(
            f'adapter: {error.filename} is not there; give the adapter folder of a '
            'finished stage'
        ) from None
    except OSError as error:
        raise UserError(
            f'adapter: {error.filename or folder} cannot be read: {error.strerror}; '
            f'{disk.mend(error)}'
        ) from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f'adapter: {folder} is damaged ({error}); copy it again, or remove it '
            'and train its stage again'
        ) from None
    for name, want, have in (
        ('base', base, card.base),
        ('tokenizer', tokenizer, card.tokenizer),
    ):
        if want is not None and want != have:
            raise UserError(
                f'adapter: {folder} was trained on the {name} {have}, this run has '
                f'{want}; give the {name} it was trained on, or train it again'
            )
    return delta, card


def _read(file):
    """The card, the plain values of its adapters, and the digest of its arrays."""
    values = sealed.load(file)
    if 'pairs' in values:  # as an older version calls them
        values['adapters'] = values.pop('pairs')
    values = {'sha256': '', 'chat': False, **values}  # older cards have neither
    schema.check_fields(values, _FIELDS)
    if values['scale'] <= 0:
        raise ValueError(f'scale: {values["scale"]} must be greater than 0')
    for path, plain in values['adapters'].items():
        schema.check_types({path: plain}, {path: {}}, 'adapters')
    adapters, digest = values.pop('adapters'), values.pop('sha256')
    tuning = create(values.pop('tuning'))
    return Card(tuning=tuning, **values), adapters, digest or None
