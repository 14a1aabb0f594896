"""The tokenizer in the metadata of a GGUF file, as the files of Hugging Face."""

import dataclasses
import json
import pathlib
import re
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from perl.models.files.gguf_header import Header
from perl.models.files.gguf_splits import Split, split_named
from perl.system.errors import UserError

# ggml's kinds of tokens
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_PADDING = re.compile(r'\[PAD\d+\]')  # rows of the embedding without a token
_ROLES = {'bos': 'bos', 'eos': 'eos', 'unk': 'unknown', 'pad': 'padding'}
_SPACE = '▁'


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, without the padding at the end, and what is said of each.

    Attributes:
        tokens: the texts, as the file spells them.
        kinds: ggml's kind of each.
        scores: of SentencePiece; empty where there are none.
        special: tokens by role: bos, eos, unk, pad, where the file names them.
    """

    tokens: list[str]
    kinds: list[int]
    scores: list[float]
    special: dict[str, str]


def tokenizer_files(file: pathlib.Path, header: Header) -> dict[str, bytes]:
    """`tokenizer.json` and `tokenizer_config.json`, with the chat template if any.

    Raises:
        UserError: the file has no tokenizer, or one of a kind that is not known.
    """
    said = _said(header)
    vocabulary = _vocabulary(file, said)
    model = said.get('model')
    if model == 'gpt2':
        made, split = _byte_level(file, said, vocabulary)
        bos = said.get('add_bos_token', split.bos)
    elif model == 'llama':
        by_place = header.metadata['general.architecture'].startswith('gemma')
        made = _sentence_piece(file, said, vocabulary, by_place)
        bos = said.get('add_bos_token', True)
    else:
        raise UserError(
            f'model.path: {file} has a tokenizer of the kind {model!r:.40}, not gpt2 '
            'or llama; set tokenizer.path to the tokenizer.json of the model'
        )
    _add(made, vocabulary)
    bos = bool(bos and 'bos' in vocabulary.special)
    if bos:
        token = vocabulary.special['bos']
        made.post_processor = processors.TemplateProcessing(
            single=f'{token} $A',
            pair=f'{token} $A {token} $B',
            special_tokens=[(token, made.token_to_id(token))],
        )
    config = {
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'clean_up_tokenization_spaces': False,
        'add_bos_token': bos,
        **{f'{role}_token': token for role, token in vocabulary.special.items()},
    }
    template = header.metadata.get('tokenizer.chat_template')
    if template is not None:
        config['chat_template'] = template
    return {
        'tokenizer.json': made.to_str(pretty=False).encode(),
        'tokenizer_config.json': json.dumps(config, indent=2).encode(),
    }


def _said(header: Header) -> dict[str, Any]:
    """What is said under `tokenizer.ggml`, without that."""
    start = 'tokenizer.ggml.'
    return {
        key.removeprefix(start): value
        for key, value in header.metadata.items()
        if key.startswith(start)
    }


def _vocabulary(file, said):
    tokens = said.get('tokens')
    if not tokens or not all(isinstance(x, str) for x in tokens):
        raise UserError(
            f'model.path: {file} has no tokenizer; set tokenizer.path to the '
            'tokenizer.json of the model'
        )
    kinds = said.get('token_type') or [NORMAL] * len(tokens)
    scores = said.get('scores') or []
    if len(kinds) != len(tokens) or len(scores) not in (0, len(tokens)):
        raise UserError(
            f'model.path: {file} has {len(tokens)} tokens, {len(kinds)} kinds and '
            f'{len(scores)} scores of them; copy or convert it again'
        )
    special = {}
    for role, name in _ROLES.items():
        number = said.get(f'{name}_token_id')
        if number is None:
            continue
        if not 0 <= number < len(tokens):
            raise UserError(
                f'model.path: {file}: its {name}_token_id {number} is not one of its '
                f'{len(tokens)} tokens; convert it again'
            )
        special[role] = tokens[number]
    size = len(tokens)
    while kinds[size - 1] == UNUSED and _PADDING.fullmatch(tokens[size - 1]):
        size -= 1
    return Vocabulary(tokens[:size], kinds[:size], scores[:size], special)


def _ids(vocabulary: Vocabulary) -> dict[str, int]:
    """Ids by token; the first where two tokens have one text."""
    ids: dict[str, int] = {}
    for number, token in enumerate(vocabulary.tokens):
        ids.setdefault(token, number)
    return ids


def _byte_level(
    file: pathlib.Path, said: dict[str, Any], vocabulary: Vocabulary
) -> tuple[tokenizers.Tokenizer, Split]:
    """Byte-pair merges of bytes that are written as letters (GPT-2)."""
    split = split_named(said.get('pre', 'default'), str(file))
    ids = _ids(vocabulary)
    merges = [_pair(file, merge, ids) for merge in said.get('merges', ())]
    made = tokenizers.Tokenizer(
        models.BPE(ids, merges, ignore_merges=split.whole_words)
    )
    if split.normalizer is not None:
        made.normalizer = split.normalizer
    made.pre_tokenizer = split.steps
    made.decoder = decoders.ByteLevel()
    return made, split


def _pair(file, merge, ids):
    """The two parts of a merge, which a space separates; a part may begin with one."""
    at = merge.find(' ', 1)
    pair = merge[:at], merge[at + 1 :]
    if at < 0 or any(x not in ids for x in (*pair, ''.join(pair))):
        raise UserError(
            f'model.path: {file}: its merge {merge!r:.40} is not of two of its tokens; '
            'convert it again'
        )
    return pair


def _sentence_piece(
    file: pathlib.Path, said: dict[str, Any], vocabulary: Vocabulary, by_place: bool
) -> tokenizers.Tokenizer:
    """Byte-pair merges of characters, with U+2581 for a space (SentencePiece).

    The merges are not in the file. A pair of pieces may become a third, the best third
    first: by its score, or by its place where the scores of a model say nothing.
    """
    if 'precompiled_charsmap' in said or said.get('remove_extra_whitespaces'):
        raise UserError(
            f'model.path: the tokenizer of {file} normalises texts, which is not '
            'supported; set tokenizer.path to the tokenizer.json of the model'
        )
    ids = _ids(vocabulary)
    if 'merges' in said:
        merges = [_pair(file, merge, ids) for merge in said['merges']]
    elif by_place or not vocabulary.scores:
        merges = _merges(vocabulary, ids, [-x for x in range(len(vocabulary.tokens))])
    else:
        merges = _merges(vocabulary, ids, vocabulary.scores)
    unknown = [t for t, k in zip(vocabulary.tokens, vocabulary.kinds) if k == UNKNOWN]  # noqa: B905
    made = tokenizers.Tokenizer(
        models.BPE(
            ids,
            merges,
            unk_token=vocabulary.special.get('unk', (unknown or [None])[0]),
            fuse_unk=True,
            byte_fallback=BYTE in vocabulary.kinds,
        )
    )
    marks = [normalizers.Replace(' ', _SPACE)]
    undo = [decoders.Replace(_SPACE, ' '), decoders.ByteFallback(), decoders.Fuse()]
    if said.get('add_space_prefix', True):
        marks.insert(0, normalizers.Prepend(_SPACE))
        undo.append(decoders.Strip(' ', 1, 0))
    made.normalizer = normalizers.Sequence(marks)
    made.decoder = decoders.Sequence(undo)
    return made


def _merges(vocabulary, ids, scores):
    """All pairs of pieces that make a piece, the best piece first."""
    able = {
        token
        for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True)
        if kind == NORMAL
    }
    found = []
    for token in able:
        score = scores[ids[token]]
        for at in range(1, len(token)):
            pair = token[:at], token[at:]
            if pair[0] in able and pair[1] in able:
                found.append((-score, ids[pair[0]], ids[pair[1]], pair))
    return [pair for *_, pair in sorted(found)]


def _add(made: tokenizers.Tokenizer, vocabulary: Vocabulary) -> None:
    """Tokens that stay whole: control tokens, and those that somebody has defined."""
    special = [
        token
        for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True)
        if kind in (CONTROL, UNKNOWN)
    ]
    special += [x for x in vocabulary.special.values() if x not in special]
    made.add_special_tokens(_added(special, True))
    defined = [
        token
        for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True)
        if kind == USER_DEFINED and token not in special
    ]
    made.add_tokens(_added(defined, False))


def _added(tokens, special):
    return [
        tokenizers.AddedToken(x, normalized=False, special=special) for x in tokens if x
    ]
