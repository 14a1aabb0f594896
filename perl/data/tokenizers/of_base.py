"""The tokenizer that belongs to a base."""

import pathlib

from perl.data.tokenizers.files import NAMES, load
from perl.data.tokenizers.vocabularies import META, Tokenizer
from perl.models.files import located


def of_base(base: str | pathlib.Path) -> Tokenizer | None:
    """The tokenizer that a base brings, whatever it lies in; None where it has none.

    A base of ours keeps it in its folder `tokenizer`, a llama2.c file in
    `tokenizer.bin` beside it.

    Raises:
        UserError: it is damaged or of an unknown kind.
    """
    base = located(base)
    if base.suffix == '.gguf':
        return load(base)
    if base.suffix == '.bin':
        file = base.with_name('tokenizer.bin')
        return load(file) if file.is_file() else None
    for folder in (base / 'tokenizer', base):
        if any((folder / name).is_file() for name in (META, *NAMES)):
            return load(folder)
    return None
