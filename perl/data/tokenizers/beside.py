"""What the files beside a tokenizer.json say of its special tokens."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from perl.system import jsonl
from perl.system.errors import UserError

CONFIG = 'tokenizer_config.json'
_ROLES = ('pad', 'bos', 'eos')
_LISTS = ('additional_special_tokens', 'extra_special_tokens')


def named(file: pathlib.Path) -> dict[str, str | None]:
    """The texts of pad, bos and eos of a tokenizer.json, None where nothing says it.

    `tokenizer_config.json` says it, or `special_tokens_map.json`, or the ids in the
    `config.json` of the model, as transformers knows them for GPT-2.

    Raises:
        UserError: one of these files is damaged.
    """
    configs = [file.with_name(x) for x in (CONFIG, 'special_tokens_map.json')]
    found: dict[str, str | None] = {}
    for role in _ROLES:
        texts = (_named_in(config, f'{role}_token') for config in configs)
        found[role] = next((x for x in texts if x is not None), None)
    if found['eos'] is None:
        model = jsonl.load(file.with_name('config.json'))
        texts = {number: x for x, number in _ids(jsonl.load(file)).items()}
        for role in _ROLES:
            said = model.get(f'{role}_token_id')
            ids = said if isinstance(said, list) else [said]
            found[role] = found[role] or next(
                (texts[x] for x in ids if isinstance(x, int) and x in texts), None
            )
    return found


def completed(content: str, config: Mapping[str, Any]) -> str:
    """The text of a tokenizer.json with the tokens that `tokenizer_config.json` adds to
    it, as transformers adds them; the same text where there are none.

    A token that one of the two calls special is special, so that text never becomes it.

    Args:
        content: of the tokenizer.json.
        config: of the other.
    """
    settings = jsonl.parse(content)
    tokens = dict(_added(config))
    special = {x for x, said in tokens.items() if said['special']}
    changed = marked(settings, special)
    known = _ids(changed)
    entries = [*(changed.get('added_tokens') or [])]
    here = {entry['content'] for entry in entries}
    for text, said in tokens.items():
        if text in here or not text:
            continue
        number = known.setdefault(text, max(known.values(), default=-1) + 1)
        entries.append({**said, 'id': number, 'content': text})
    changed = {**changed, 'added_tokens': entries}
    return content if changed == settings else json.dumps(changed)


def marked(settings: dict[str, Any], special: set[str]) -> dict[str, Any]:
    """The settings of a tokenizer.json whose tokens of these texts are special, those
    of its vocabulary that were not added too."""
    known = _ids({**settings, 'added_tokens': None})
    entries = [
        {**entry, 'special': entry['special'] or entry['content'] in special}
        for entry in settings.get('added_tokens') or []
    ]
    here = {entry['content'] for entry in entries}
    entries += [
        {**_PLAIN, 'id': known[text], 'content': text, 'special': True}
        for text in sorted(special - here)
        if text in known
    ]
    return {**settings, 'added_tokens': entries}


_PLAIN = dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)


def _added(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Texts of the tokens that a config names beside its roles, and how each is."""
    decoder = config.get('added_tokens_decoder') or {}
    for _, said in sorted(decoder.items(), key=lambda item: int(item[0])):
        how = {key: said.get(key, False) for key in (*_PLAIN, 'special')}
        yield said['content'], how
    for key in _LISTS:
        several = config.get(key) or ()
        for token in several.values() if isinstance(several, dict) else several:
            yield text_of(token), {**_PLAIN, 'special': True}


def text_of(token: object) -> Any:
    """The text of a token, which may be an object with its content."""
    return token.get('content') if isinstance(token, dict) else token


def _named_in(file, key):
    token = jsonl.load(file).get(key)
    text = text_of(token)
    if not isinstance(text, str | None):
        raise UserError(f'{file}: {key} is {token!r:.40}, not text')
    return text or None


def _ids(settings: Mapping[str, Any]) -> dict[str, int]:
    """All ids of a tokenizer.json by token."""
    vocabulary = settings['model'].get('vocab') or {}
    if isinstance(vocabulary, list):  # of a Unigram: pieces with scores
        vocabulary = {piece: i for i, (piece, _) in enumerate(vocabulary)}
    added = settings.get('added_tokens') or []
    return {**vocabulary, **{entry['content']: entry['id'] for entry in added}}
