"""Adapters in the format of PEFT, read and written: one folder with
`adapter_config.json` and `adapter_model.safetensors`."""

from perl.adapters.peft.folder import learned_messages, notes_of
from perl.adapters.peft.reading import Imported, is_peft, read
from perl.adapters.peft.settings import REWARD
from perl.adapters.peft.writing import write, write_reward

__all__ = [
    'REWARD',
    'Imported',
    'is_peft',
    'learned_messages',
    'notes_of',
    'read',
    'write',
    'write_reward',
]
