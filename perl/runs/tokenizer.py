"""The tokenizer of a run: its own, its base's, or one made from its texts."""

import pathlib
import shutil

from ml_collections import ConfigDict

from perl.data import chat, tokenizers
from perl.data.chat import ChatTokenizer, Template
from perl.data.records import Dataset
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.models.files import beside, is_foreign, located, stops
from perl.system import atomic
from perl.system.errors import UserError


def open_tokenizer(
    config: ConfigDict, dataset: Dataset, folder: pathlib.Path
) -> Tokenizer:
    """The run's tokenizer: that of its folder, else it is made and kept there.

    Raises:
        UserError: as `make`, or what the folder has cannot be read.
    """
    if folder.is_dir():
        return chat.saved(tokenizers.load(folder), folder)
    made = make(config, dataset)
    keep(made, folder)
    return made


def make(config: ConfigDict, dataset: Dataset) -> Tokenizer:
    """The tokenizer that the config says: found, or made from the texts. It has a chat
    template where the config names one, or the dataset has messages.

    Raises:
        UserError: it cannot be read, or the base brings none and the config names none.
    """
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
    file = config.tokenizer.get('chat_template', '')
    if file or chat.has_messages(dataset):
        made = with_template(made, base, file)
    return made


def keep(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """Writes a tokenizer as a folder, whole or not at all."""
    new = folder.with_name(f'{atomic.PREFIX}{folder.name}')
    shutil.rmtree(new, ignore_errors=True)
    try:
        tokenizer.save(new)
        new.rename(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def with_template(tokenizer: Tokenizer, base: str, file: str = '') -> Tokenizer:
    """The tokenizer with the chat template of a file, or that of the base if it brings
    one, and with the ids that end a response: the end of a turn, eos, and those that
    `generation_config.json` names.

    Args:
        tokenizer: of ordinary text.
        base: the path of the base; '' without one.
        file: of jinja2; '' for the template of the base.

    Raises:
        UserError: the template cannot be read, raises an error, or ends no turn.
    """
    if base and not file and chat.is_saved(own := located(base) / 'tokenizer'):
        return chat.saved(tokenizer, own)
    template = _of_file(file, tokenizer) if file else _brought(base, tokenizer)
    if template is None:
        return tokenizer
    end = chat.end_of_turn(tokenizer, template)
    ends = [end, tokenizer.eos, *(stops(base) if base else ())]
    return ChatTokenizer(tokenizer, template, tuple(dict.fromkeys(ends)))


def _of_file(file, tokenizer):
    try:
        source = pathlib.Path(file).read_text('utf-8')
    except (OSError, ValueError) as error:
        raise UserError(
            f'tokenizer.chat_template: {file} cannot be read ({error}); give a file '
            'of text'
        ) from error
    return Template(source, *_named(tokenizer), file)


def _brought(base, tokenizer):
    """The template of a base; one of ours keeps it with its tokenizer."""
    if not base:
        return None
    own = located(base) / 'tokenizer'
    files = beside(own if own.is_dir() else base)
    template = chat.of_files(files, str(base))
    if template is None or (template.bos and template.eos):
        return template
    bos, eos = _named(tokenizer)
    named = template.bos or bos, template.eos or eos
    return Template(template.source, *named, f'of {base}')


def _named(tokenizer):
    """The texts of bos and eos."""
    texts = {control.id: text for text, control in tokenizer.controls.items()}
    return texts.get(tokenizer.bos, ''), texts.get(tokenizer.eos, '')


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
