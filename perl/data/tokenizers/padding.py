"""The token that a classifier of transformers is padded with."""

import json
from collections.abc import Mapping
from typing import Any

from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system import jsonl

CONFIG, MAP, WHOLE = (
    'tokenizer_config.json', 'special_tokens_map.json', 'tokenizer.json',
)  # fmt: skip


def of_classifier(tokenizer: Tokenizer) -> int | None:
    """The id that pads the texts of a classifier, which reads its score at the last
    token that is not padding. So it must not be a token that ends responses (eos or the
    end of a turn): where the tokenizer pads with such a token, bos is taken, which no
    text ends with. None where bos ends responses too; texts are then scored one at a
    time.
    """
    ends = {tokenizer.eos, getattr(tokenizer, 'stops', (tokenizer.eos,))[0]}
    usable = (x for x in (tokenizer.pad, tokenizer.bos) if x not in ends)
    return next(usable, None)


def padded_with(files: Mapping[str, bytes], number: int) -> dict[str, bytes]:
    """The files of a tokenizer of Hugging Face, by name, with another padding token in
    `tokenizer_config.json`, and in `special_tokens_map.json` where there is one.

    They stay as they are where they have no name for it.

    Args:
        files: by name, as `perl.models.files.beside` gives them.
        number: the id of the token.
    """
    token = _named(files, number)
    if token is None:
        return dict(files)
    changed = {
        name: {**_object(files, name), 'pad_token': token}
        for name in (CONFIG, MAP)
        if name in files or name == CONFIG
    }
    written = {name: f'{json.dumps(x, indent=2)}\n' for name, x in changed.items()}
    return {**files, **{name: text.encode() for name, text in written.items()}}


def _named(files, number):
    """The text of a token: of those that were added, else of bos."""
    added = _object(files, WHOLE).get('added_tokens') or []
    known = {x['id']: x['content'] for x in added}
    decoder = _object(files, CONFIG).get('added_tokens_decoder') or {}
    known |= {int(k): x['content'] for k, x in decoder.items()}
    bos = _object(files, CONFIG).get('bos_token')
    return known.get(number, bos['content'] if isinstance(bos, dict) else bos)


def _object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    return jsonl.as_object(files.get(name, b'{}'), name)
