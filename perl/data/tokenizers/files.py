"""Loads a tokenizer from a folder or file, or trains one on a corpus."""

import io
import json
import pathlib
import re
from collections.abc import Iterable

from perl.data.tokenizers.json_file import Json
from perl.data.tokenizers.llama2c import Llama2c
from perl.data.tokenizers.sentence_piece import SentencePiece
from perl.data.tokenizers.vocabularies import META, Bytes, Tokenizer
from perl.system import jsonl
from perl.system.errors import UserError

__all__ = [
    'Bytes',
    'Json',
    'Llama2c',
    'SentencePiece',
    'Tokenizer',
    'load',
    'train_sentencepiece',
]

_NAMES = ('tokenizer.json', 'tokenizer.model', 'tokenizer.bin')
# characters that some tokenizer.json change: spaces, line ends, ligatures, accents
_PROBE = ' A  b\n ﬁ²e\u0301'


def load(path: str | pathlib.Path) -> Tokenizer:
    """The tokenizer at a path: the output of `save`, or a file of another project.

    `'bytes'` is the byte tokenizer, which needs no file. A folder without our meta file
    is searched for `tokenizer.json`, `tokenizer.model` and `tokenizer.bin`. If it has
    both of the first two, the one with an exact round trip is used, or `tokenizer.json`
    if both are exact. The names of the special tokens of a `tokenizer.json` come from
    `tokenizer_config.json` beside it.

    Raises:
        UserError: the file is missing, damaged or of an unknown kind.
    """
    if str(path) == 'bytes':
        return Bytes()
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(
            f"no tokenizer at {path}: give a file, a folder or 'bytes' (needs no file)"
        )
    meta = path / META
    try:
        if meta.is_file():
            return _from_meta(path, json.loads(meta.read_text()))
        return _from_folder(path) if path.is_dir() else _from_file(path)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f'{path} is not a readable tokenizer: {error!r}') from error


def train_sentencepiece(
    texts: Iterable[str],
    vocab_size: int,
    model_type: str = 'bpe',
    byte_fallback: bool = True,
    symbols: tuple[str, ...] = ('\n',),
) -> SentencePiece:
    """Trains a SentencePiece model on a corpus; it is exact and deterministic.

    Ids: 0 pad, 1 bos, 2 eos, 3 unk, then `symbols`, which no other piece contains. Text
    is not changed: no normalisation, no leading space, no removed spaces. A small
    corpus may give fewer than `vocab_size` pieces.

    Raises:
        UserError: the corpus is empty, or `vocab_size` is too small for its characters.
    """
    import sentencepiece

    model = io.BytesIO()
    texts = [text for text in texts if text]
    if not texts:
        raise UserError('a tokenizer cannot be trained: the corpus has no text')
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=vocab_size,
            model_type=model_type,
            byte_fallback=byte_fallback,
            user_defined_symbols=list(symbols),
            normalization_rule_name='identity',
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            max_sentence_length=1 << 20,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[-1]
        if needed := re.search(rf'{vocab_size} vs (\d+)', reason):
            raise UserError(
                f'tokenizer.size: {vocab_size} pieces are too few for the characters '
                f'of this text, which take {needed[1]}; give a larger size'
            ) from error
        raise UserError(
            f'SentencePiece cannot make {vocab_size} pieces from this corpus: {reason}'
        ) from error
    return SentencePiece(model.getvalue())


def _from_folder(folder: pathlib.Path) -> Tokenizer:
    files = [folder / name for name in _NAMES if (folder / name).is_file()]
    if not files:
        raise UserError(f'the folder has none of {", ".join(_NAMES)}')
    if [file.suffix for file in files[:2]] == ['.json', '.model']:
        return _of_both(*files[:2])
    return _from_file(files[0])


def _of_both(json_file: pathlib.Path, model_file: pathlib.Path) -> Tokenizer:
    """The tokenizer with an exact round trip, from two files of one vocabulary."""
    try:
        model = _from_file(model_file)
    except UserError:  # Llama 3 has a file of another format with this name
        return _from_file(json_file)
    if _special_tokens(json_file)['eos'] is None:
        return model
    tokenizer = _from_file(json_file)
    return model if _exact(model) and not _exact(tokenizer) else tokenizer


def _exact(tokenizer: Tokenizer) -> bool:
    return tokenizer.decode(tokenizer.encode(_PROBE)) == _PROBE


def _from_meta(folder: pathlib.Path, meta: dict) -> Tokenizer:
    kind = meta.get('kind') if isinstance(meta, dict) else None
    space = meta.get('leading_space', False) if kind else False
    if kind == 'bytes':
        return Bytes()
    if kind == 'sentencepiece':
        tokenizer = SentencePiece((folder / 'tokenizer.model').read_bytes(), space)
    elif kind == 'llama2c':
        tokenizer = Llama2c((folder / 'tokenizer.bin').read_bytes(), space)
    elif kind == 'json':
        special = {role: meta[role] for role in ('pad', 'bos', 'eos')}
        tokenizer = Json((folder / 'tokenizer.json').read_text('utf-8'), **special)
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
    if file.suffix != '.json':
        return SentencePiece(file.read_bytes())
    special = _special_tokens(file)
    if special['eos'] is None:
        raise UserError(
            'its end-of-sequence token is unknown; put tokenizer_config.json with '
            'eos_token beside it, or call Json(content, pad=…, bos=…, eos=…)'
        )
    special['pad'] = special['pad'] or special['eos']
    special['bos'] = special['bos'] or special['pad']
    return Json(file.read_text('utf-8'), **special)


def _special_tokens(file: pathlib.Path) -> dict[str, str | None]:
    """pad, bos and eos as `tokenizer_config.json` beside a file names them."""
    config_file = file.with_name('tokenizer_config.json')
    config = jsonl.load(config_file)
    named = {}
    for role in ('pad', 'bos', 'eos'):
        token = config.get(f'{role}_token')
        named[role] = token.get('content') if isinstance(token, dict) else token
        if not isinstance(named[role], str | None):
            raise UserError(f'{config_file}: {role}_token is {token!r:.40}, not text')
    return named
