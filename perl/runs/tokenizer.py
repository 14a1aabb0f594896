"""The tokenizer of a run: its own, its base's, or one made from its texts."""

import pathlib
import shutil

from ml_collections import ConfigDict

from perl.data import tokenizers
from perl.data.records import Dataset
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.models.files import is_foreign, located
from perl.system import atomic
from perl.system.errors import UserError


def open_tokenizer(
    config: ConfigDict, dataset: Dataset, folder: pathlib.Path
) -> Tokenizer:
    """The run's tokenizer: made or found once, then kept in the run folder.

    Raises:
        UserError: it cannot be read, or the base brings none and the config names none.
    """
    if folder.is_dir():
        return tokenizers.load(folder)
    base = config.model.path
    if base and not located(base).exists():  # said before its tokenizer is missed
        raise UserError(f'model.path: {base} is not there; give a folder or a file')
    kind = config.tokenizer.kind
    if kind == 'bytes':
        made = tokenizers.Bytes()
    elif kind == 'file' and config.tokenizer.path:
        made = tokenizers.load(config.tokenizer.path)
    else:
        made = _of_base(config) if config.model.path else None
        if made is None:
            texts = dataset.text['train']
            made = tokenizers.train_sentencepiece(texts, config.tokenizer.size)
    keep(made, folder)
    return made


def keep(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """Writes a tokenizer as a folder that is whole or not there."""
    new = folder.with_name(f'{atomic.PREFIX}{folder.name}')
    shutil.rmtree(new, ignore_errors=True)
    try:
        tokenizer.save(new)
        new.rename(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _of_base(config):
    """The tokenizer that the base brings; None where one may be made for it."""
    base = config.model.path
    found = tokenizers.of_base(base)
    if found is None and (config.tokenizer.kind == 'file' or is_foreign(base)):
        raise UserError(
            f'tokenizer.path: the base {base} brings no tokenizer; give its file or '
            'folder'
        )
    return found
