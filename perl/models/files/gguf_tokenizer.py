"""The tokenizer in the metadata of a GGUF file, as the files of Hugging Face."""

import json
import pathlib
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, processors

from perl.models.files.gguf_header import Header
from perl.models.files.gguf_splits import Split, split_named
from perl.models.files.gguf_vocabulary import (
    BYTE,
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    Vocabulary,
    merges_of,
    pair_of,
    read_vocabulary,
)
from perl.system.errors import UserError

_SPACE = '▁'


def tokenizer_files(file: pathlib.Path, header: Header) -> dict[str, bytes]:
    """`tokenizer.json` and `tokenizer_config.json`, with the chat template if any.

    Raises:
        UserError: the file has no tokenizer, or one of a kind that is not known.
    """
    said = _said(header)
    vocabulary = read_vocabulary(file, said)
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
    """The metadata under `tokenizer.ggml`, without this prefix."""
    start = 'tokenizer.ggml.'
    return {
        key.removeprefix(start): value
        for key, value in header.metadata.items()
        if key.startswith(start)
    }


def _byte_level(
    file: pathlib.Path, said: dict[str, Any], vocabulary: Vocabulary
) -> tuple[tokenizers.Tokenizer, Split]:
    """Byte-pair merges of bytes that are written as letters (GPT-2)."""
    split = split_named(said.get('pre', 'default'), str(file))
    ids = vocabulary.ids()
    merges = [pair_of(file, merge, ids) for merge in said.get('merges', ())]
    made = tokenizers.Tokenizer(
        models.BPE(ids, merges, ignore_merges=split.whole_words)
    )
    if split.normalizer is not None:
        made.normalizer = split.normalizer
    made.pre_tokenizer = split.steps
    made.decoder = decoders.ByteLevel()
    return made, split


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
    ids = vocabulary.ids()
    if 'merges' in said:
        merges = [pair_of(file, merge, ids) for merge in said['merges']]
    elif by_place or not vocabulary.scores:
        merges = merges_of(vocabulary, ids, [-x for x in range(len(vocabulary.tokens))])
    else:
        merges = merges_of(vocabulary, ids, vocabulary.scores)
    unknown = vocabulary.of(UNKNOWN)
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


def _add(made: tokenizers.Tokenizer, vocabulary: Vocabulary) -> None:
    """Tokens that stay whole: control tokens, and those that somebody has defined."""
    special = vocabulary.of(CONTROL, UNKNOWN)
    special += [x for x in vocabulary.special.values() if x not in special]
    made.add_special_tokens(_added(special, True))
    defined = [x for x in vocabulary.of(USER_DEFINED) if x not in special]
    made.add_tokens(_added(defined, False))


def _added(tokens, special):
    return [
        tokenizers.AddedToken(x, normalized=False, special=special) for x in tokens if x
    ]
