"""Adapters in the format of PEFT, read and written: one folder with
`adapter_config.json` and `adapter_model.safetensors`."""

from perl.adapters.peft.reading import Imported, is_peft, read
from perl.adapters.peft.writing import write

__all__ = ['Imported', 'is_peft', 'read', 'write']
