"""The adapter bundle: one folder that cannot lose its head, scale or base.

`adapter.safetensors` holds every trained array (factors, heads, or all weights where
tuning is full); `adapter.json` says what they are: role, tuning, scale of each pair,
reward normalisation, the fingerprints of the base and tokenizer they belong to, and the
digest of their file.
"""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

from safetensors import SafetensorError
from safetensors.flax import load_file

from perl.adapters import serial
from perl.adapters.tunings import Tuning, create
from perl.system import arrays as files
from perl.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Card:
    """What `adapter.json` says beside the scales.

    Attributes:
        role: sft, reward, policy or value.
        tuning: how it was trained.
        base: fingerprint of the base it sits on.
        tokenizer: fingerprint of the tokenizer.
        shift, scale: rewards are reported as `(raw - shift) / scale`.
    """

    role: str
    tuning: Tuning
    base: str
    tokenizer: str
    shift: float = 0.0
    scale: float = 1.0


def save(folder: pathlib.Path, delta: Any, card: Card) -> None:
    """Writes a bundle; the card comes last, so a bundle with a card is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'adapter.json').unlink(missing_ok=True)
    arrays, adapters = serial.take_apart(delta)
    files.save(folder / 'adapter.safetensors', arrays)
    said = {
        **dataclasses.asdict(card),
        'adapters': adapters,
        'sha256': _digest(folder),
    }
    text = json.dumps(said, indent=2)
    (folder / 'adapter.json').write_text(text + '\n')


def exists(folder: pathlib.Path) -> bool:
    """Whether a whole bundle is there."""
    return (folder / 'adapter.json').is_file()


def load(
    folder: pathlib.Path, base: str | None = None, tokenizer: str | None = None
) -> tuple[Any, Card]:
    """The delta and its card.

    Args:
        folder: that `save` wrote.
        base: fingerprint of the base it is to sit on; checked when given.
        tokenizer: likewise.

    Raises:
        UserError: missing, damaged, or trained on another base or tokenizer.
    """
    try:
        said = json.loads((folder / 'adapter.json').read_text())
        digest = said.pop('sha256', None)  # older cards have none
        if digest not in (None, _digest(folder)):
            raise ValueError('adapter.safetensors is not what the card was written for')
        arrays = load_file(folder / 'adapter.safetensors')
        tuning = create(said.pop('tuning'))
        # a card of an older version calls them pairs
        adapters = said.pop('adapters' if 'adapters' in said else 'pairs')
        delta = serial.put_together(arrays, adapters, tuning)
        card = Card(tuning=tuning, **said)
    except FileNotFoundError as error:
        raise UserError(
            f'adapter: {error.filename or folder / "adapter.safetensors"} is not '
            'there; give the adapter folder of a finished stage'
        ) from None
    except (
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
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


def _digest(folder):
    with (folder / 'adapter.safetensors').open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
