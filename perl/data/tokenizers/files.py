"""Loads a tokenizer from a folder or file."""

import pathlib
import tempfile

from perl.data.tokenizers import beside
from perl.data.tokenizers.json_file import Json
from perl.data.tokenizers.llama2c import Llama2c
from perl.data.tokenizers.sentence_piece import SentencePiece
from perl.data.tokenizers.vocabularies import META, Bytes, Tokenizer
from perl.models import files as models
from perl.system import jsonl
from perl.system.errors import UserError

NAMES = ('tokenizer.json', 'tokenizer.model', 'tokenizer.bin')
# characters that some tokenizer.json change: spaces, line ends, ligatures, accents
_PROBE = ' A  b\n ﬁ²e\u0301'


def load(path: str | pathlib.Path) -> Tokenizer:
    """The tokenizer at a path: the output of `save`, or a file of another project.

    `'bytes'` is the byte tokenizer, which needs no file. A folder without our meta file
    is searched for `tokenizer.json`, `tokenizer.model` and `tokenizer.bin`. If it has
    both of the first two, the one with an exact round trip is used, or `tokenizer.json`
    if both are exact or the other lacks tokens. The names of the special tokens of a
    `tokenizer.json` come from the files beside it (`beside.named`). A `.gguf` file has
    its tokenizer inside, and `hub:org/name` names one of the Hugging Face hub.

    Raises:
        UserError: the file is missing, damaged or of an unknown kind.
    """
    if str(path) == 'bytes':
        return Bytes()
    path = models.located(path)
    if not path.exists():
        raise UserError(
            f"no tokenizer at {path}: give a file, a folder or 'bytes' (needs no file)"
        )
    inside = models.beside(path) if path.suffix == '.gguf' else None
    meta = path / META
    try:
        if meta.is_file():
            return _from_meta(path, jsonl.load(meta))
        if inside is not None:
            return _from_contents(inside)
        return _from_folder(path) if path.is_dir() else _from_file(path)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path} is not a readable tokenizer: {error!r}') from error


def _from_folder(folder: pathlib.Path) -> Tokenizer:
    files = [folder / name for name in NAMES if (folder / name).is_file()]
    if not files:
        raise UserError(f'the folder has none of {", ".join(NAMES)}')
    if [file.suffix for file in files[:2]] == ['.json', '.model']:
        return _of_both(*files[:2])
    return _from_file(files[0])


def _from_contents(files: dict[str, bytes]) -> Tokenizer:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (pathlib.Path(folder) / name).write_bytes(content)
        return _from_folder(pathlib.Path(folder))


def _of_both(json_file: pathlib.Path, model_file: pathlib.Path) -> Tokenizer:
    """The tokenizer with an exact round trip, from two files of one vocabulary."""
    try:
        model = _from_file(model_file)
    except UserError:  # Llama 3 has a file of another format with this name
        return _from_file(json_file)
    if beside.named(json_file)['eos'] is None:
        return model
    tokenizer = _from_file(json_file)
    model.adds_bos = tokenizer.adds_bos  # transformers reads the tokenizer.json
    return model if _exact(model) and not _exact(tokenizer) else tokenizer


def _exact(tokenizer: Tokenizer) -> bool:
    return tokenizer.decode(tokenizer.encode(_PROBE)) == _PROBE


def _from_meta(folder: pathlib.Path, meta: dict) -> Tokenizer:
    kind = meta.get('kind') if isinstance(meta, dict) else None
    space = meta.get('leading_space', False) if kind else False
    # folders of older versions do not say it: their texts began with bos
    bos = meta.get('adds_bos', True) if kind else True
    if kind == 'bytes':
        return Bytes()
    if kind == 'sentencepiece':
        content = (folder / 'tokenizer.model').read_bytes()
        tokenizer = SentencePiece(content, space, bos)
    elif kind == 'llama2c':
        tokenizer = Llama2c((folder / 'tokenizer.bin').read_bytes(), space)
    elif kind == 'json':
        special = {role: meta[role] for role in ('pad', 'bos', 'eos')}
        content = (folder / 'tokenizer.json').read_text('utf-8')
        tokenizer = Json(content, **special, adds_bos=bos)
    else:
        raise UserError(f'{META} does not name a known kind of tokenizer')
    older = meta.get('prefix') or not meta.get('exact', True)
    if older or tokenizer.leading_space != space:
        raise UserError(
            f'{META} is of an older version, which put a space before every part of a '
            'text; give the tokenizer file itself, and use a new run folder'
        )
    return tokenizer


def _from_file(file: pathlib.Path) -> Tokenizer:
    if file.suffix == '.bin':
        return Llama2c(file.read_bytes())
    config = jsonl.load(file.with_name(beside.CONFIG))
    if file.suffix != '.json':
        adds_bos = config.get('add_bos_token') is not False
        model = SentencePiece(file.read_bytes(), adds_bos=adds_bos)
        _check_whole(model, file, config)
        return model
    special = beside.named(file)
    if special['eos'] is None:
        raise UserError(
            'its end-of-sequence token is unknown; put tokenizer_config.json with '
            'eos_token beside it, or call Json(content, pad=…, bos=…, eos=…)'
        )
    special['pad'] = special['pad'] or special['eos']
    special['bos'] = special['bos'] or special['pad']
    content = beside.completed(file.read_text('utf-8'), config)
    return Json(content, **special, adds_bos=None)


def _check_whole(model: SentencePiece, file: pathlib.Path, config: dict) -> None:
    """Raises a `UserError` where the files beside a SentencePiece model add tokens to
    it, other than one to pad with, which no text has."""
    named = {*jsonl.load(file.with_name('added_tokens.json'))}
    decoder = config.get('added_tokens_decoder') or {}
    named |= {beside.text_of(said) for said in decoder.values()}
    named |= {beside.text_of(config.get('eos_token'))} - {None, ''}
    added = named - {*model.pieces, beside.text_of(config.get('pad_token'))}
    if added:
        raise UserError(
            f'it lacks the token {min(added)!r:.40}, which the files beside it add; '
            'write a tokenizer.json with save_pretrained of transformers'
        )
