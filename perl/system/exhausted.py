"""Recognises the errors of a program that ran out of memory."""

import re

from jax.errors import JaxRuntimeError

_WORDS = re.compile(r'RESOURCE_EXHAUSTED|Out of memory', re.IGNORECASE)
_CAUSE = re.compile(r'Out of memory[^\n]*', re.IGNORECASE)


def advice(error: MemoryError | JaxRuntimeError) -> str:
    """One line for the user, or '' if the error has another cause than memory."""
    text = str(error)
    if isinstance(error, JaxRuntimeError) and not _WORDS.search(text):
        return ''
    found = _CAUSE.search(text)
    cause = found[0] if found else text.partition('\n')[0] or 'Out of memory'
    return (
        f'{cause.rstrip(".")}: take a smaller batch, more micro_batches or a smaller '
        'model; what was saved before is intact'
    )
