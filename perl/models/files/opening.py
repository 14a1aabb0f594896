"""Opens a checkpoint of another project, whatever it lies in."""

import pathlib

from perl.models.files import hub
from perl.models.files.checkpoint import Checkpoint
from perl.models.files.folder import (
    CONFIG,
    GENERATION,
    PICKLES,
    read_folder,
    refuse_pickle,
)
from perl.models.files.gguf_file import read_gguf
from perl.models.files.gguf_header import read_header
from perl.system import jsonl
from perl.system.errors import UserError

_GGUF = '.gguf'
OURS = 'model.json'  # says that a folder is a base of this package
# what belongs to a model beside its weights and its two configs
BESIDE = (
    'tokenizer.json',
    'tokenizer.model',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'added_tokens.json',
    'chat_template.jinja',
    'vocab.json',
    'merges.txt',
)


def is_foreign(path: str | pathlib.Path) -> bool:
    """Whether `open_checkpoint` opens a path: a folder with `config.json`, one of the
    hub's cache, a `.gguf` file, a pickle (to refuse it), or `hub:org/name`."""
    if hub.is_address(str(path)):
        return True
    path = pathlib.Path(path)
    if path.is_dir():
        return (path / CONFIG).is_file() or hub.is_cache(path)
    # a `.bin` file is of llama2.c, and tells itself whether it is
    return path.suffix in (_GGUF, '.safetensors', *PICKLES) and path.suffix != '.bin'


def located(path: str | pathlib.Path) -> pathlib.Path:
    """The folder or file that a path or an address stands for.

    Raises:
        UserError: an address cannot be fetched, or the path is the folder of a run.
    """
    if hub.is_address(str(path)):
        return hub.fetch(str(path))
    path = pathlib.Path(path)
    if hub.is_cache(path):
        return hub.snapshot(path)
    refuse_run(path)
    return path


def refuse_run(folder: pathlib.Path) -> None:
    """Raises a `UserError` for the folder of a run, or of a stage that made a base; it
    names the base that is in it."""
    if (folder / OURS).is_file():
        return
    cards = (*folder.glob(f'base/{OURS}'), *folder.glob(f'*/base/{OURS}'))
    if cards:
        bases = ' or '.join(sorted(str(card.parent) for card in cards))
        raise UserError(
            f'model.path: {folder} is the folder of a run or a stage, not of a base; '
            f'give {bases}'
        )


def open_checkpoint(path: str | pathlib.Path) -> Checkpoint:
    """The checkpoint at a path; no tensor of it is read.

    Args:
        path: a folder of Hugging Face, a model's folder in the hub's cache, a `.gguf`
            file, or `hub:org/name@revision`, which is the only one to be fetched.

    Raises:
        UserError: it is not there, damaged, or of a kind that is not read.
    """
    path = located(path)
    if not path.exists():
        raise UserError(f'model.path: {path} is not there; give a folder or a file')
    if path.is_dir():
        return read_folder(path)
    if path.suffix in PICKLES:
        raise refuse_pickle(path)
    if path.suffix != _GGUF:
        raise UserError(
            f'model.path: {path} is not a .gguf file; give the folder that has it and '
            f'{CONFIG}'
        )
    return read_gguf(path)


def stops(path: str | pathlib.Path) -> tuple[int, ...]:
    """The ids that end a response as the files of a model say: `eos_token_id` of its
    `generation_config.json`, or else of its config; none where neither says it. A base
    of ours may have the first of the two."""
    if is_foreign(path):
        checkpoint = open_checkpoint(path)
        sources = (checkpoint.generation, checkpoint.config)
    else:
        sources = (jsonl.load(pathlib.Path(path) / GENERATION),)
    for said in sources:
        ids = said.get('eos_token_id')
        ids = ids if isinstance(ids, list) else [ids]
        if all(isinstance(i, int) for i in ids):
            return tuple(ids)
    return ()


def beside(path: str | pathlib.Path) -> dict[str, bytes]:
    """The files of the tokenizer that belongs to a checkpoint, by the names that
    Hugging Face gives them; those of a GGUF file are made from its metadata.

    Raises:
        UserError: the path is not there, or a GGUF file has no tokenizer.
    """
    path = located(path)
    if path.suffix == _GGUF:
        # imports the library of tokenizers, which few runs need
        from perl.models.files.gguf_tokenizer import tokenizer_files

        return tokenizer_files(path, read_header(path))
    files = [path / name for name in BESIDE]
    return {file.name: file.read_bytes() for file in files if file.is_file()}
