"""The `tokenizer.json` of the `tokenizers` library, changed for parts of texts."""

import collections
import functools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from perl.data.tokenizers.vocabularies import Control, LeadingSpace, digest, write
from perl.system import jsonl
from perl.system.errors import UserError

# the steps of a tokenizer.json that can change the start or end of a text, and the key
# of the list in a sequence of such steps
_STEPS = {
    'normalizer': 'normalizers',
    'pre_tokenizer': 'pretokenizers',
    'decoder': 'decoders',
}
_SPACES = (' ', '▁')


class Json(LeadingSpace):
    """A `tokenizer.json` with named special tokens.

    It is exact except for the changes of its normalizer (such as lower case or NFKC)
    and for white space that its pre-tokenizer drops; its vocabulary was trained so.

    Args:
        content: the text of the file.
        pad, bos, eos: the special tokens.

    Raises:
        UserError: it is not a tokenizer.json, or it lacks one of the special tokens.
    """

    def __init__(self, content: str, *, pad: str, bos: str, eos: str):
        import tokenizers

        try:
            original = jsonl.parse(content)
            settings, self.leading_space = for_parts(original)
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(settings))
        except Exception as error:
            raise UserError(f'not a tokenizer.json: {error}') from error
        # `perl.data.examples` cuts texts and counts the cuts
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._content = content
        self._special = {'pad': pad, 'bos': bos, 'eos': eos}
        self.pad, self.bos, self.eos = map(self._id, self._special.values())
        self.size = max(self._tokenizer.get_vocab(True).values()) + 1
        self._unknown = _unknown_id(settings['model'], self._tokenizer)
        self.space_everywhere = self.leading_space and not _first_only(original)

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            added = [
                entry.content
                for entry in self._tokenizer.get_added_tokens_decoder().values()
            ]
            raise UserError(
                f'tokenizer.json has no token {token!r}; its special tokens are '
                f'{", ".join(map(repr, added)) or "none"}'
            )
        return number

    @property
    def reach(self) -> int:
        added = self._tokenizer.get_added_tokens_decoder()
        unused = {number for number, token in added.items() if token.special}
        unused -= {self.pad, self.bos, self.eos}
        return max(set(self._tokenizer.get_vocab(True).values()) - unused) + 1

    @functools.cached_property
    def controls(self) -> dict[str, Control]:
        return {
            token.content: Control(number, token.lstrip, token.rstrip)
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
            if token.special
        }

    @property
    def holes(self) -> tuple[int, ...]:
        taken = {*self._tokenizer.get_vocab(True).values()}
        return tuple(x for x in range(self.size) if x not in taken)

    @property
    def fingerprint(self) -> str:
        how = ('leading space',) if self.leading_space else ()
        return digest('json', *how, self._special, self._content.encode())

    def _ids(self, text: str) -> list[int]:
        try:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        except Exception as error:
            raise UserError(f'tokenizer.json cannot encode a text: {error}') from error

    def _text(self, ids: Sequence[int]) -> str:
        special = (self.pad, self.bos, self.eos)
        ordinary = [int(i) for i in ids if i not in special]
        return self._tokenizer.decode(ordinary, skip_special_tokens=True)

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        if self._unknown is not None:
            return ids.count(self._unknown)
        # byte-pair encoding without an unknown token drops unknown characters
        normalizer = self._tokenizer.normalizer
        written = normalizer.normalize_str(text) if normalizer else text
        texts = (written, self._text(ids))
        want, have = (collections.Counter(x.replace('▁', ' ')) for x in texts)
        return (want - have).total()

    def save(self, folder: str | pathlib.Path) -> None:
        meta = {'kind': 'json', 'leading_space': self.leading_space, **self._special}
        write(folder, meta, 'tokenizer.json', self._content.encode())


def for_parts(settings: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Changes the settings of a tokenizer.json so that it encodes and decodes a part of
    a text exactly: no space is put before it, and its ends are not stripped.

    Three steps put a space before a text: the normalizer Prepend (Llama 2) and the
    pre-tokenizers Metaspace and ByteLevel, with their `prepend_scheme` and
    `add_prefix_space`.

    Returns:
        The new settings, and whether the old ones put a space before a text.
    """
    changed, leading_space = dict(settings), False
    for role, several in _STEPS.items():
        steps = _flat(settings.get(role), several)
        if role != 'decoder':
            leading_space |= any(map(_puts_space, steps))
        if any(step['type'] == 'Metaspace' for step in steps):
            # it would remove the spaces that Metaspace must mark
            steps = [step for step in steps if step['type'] != 'WhitespaceSplit']
        steps = [_plain(step) for step in steps if not _strips(step)]
        changed[role] = {'type': 'Sequence', several: steps} if steps else None
        if len(steps) == 1:
            [changed[role]] = steps
    return changed, leading_space


def _first_only(settings):
    """Whether the space goes before the first words of a text alone."""
    steps = _flat(settings.get('pre_tokenizer'), _STEPS['pre_tokenizer'])
    return any(step.get('prepend_scheme') == 'first' for step in steps)


def _flat(step, several):
    """The steps in a step, which may be a sequence of steps or null."""
    if step is None:
        return []
    if step['type'] != 'Sequence':
        return [step]
    return [part for inner in step[several] for part in _flat(inner, several)]


def _puts_space(step):
    match step['type']:
        case 'Prepend':
            return step['prepend'] in _SPACES
        case 'Metaspace':
            scheme = 'always' if step.get('add_prefix_space', True) else 'never'
            return step.get('prepend_scheme', scheme) != 'never'
        case 'ByteLevel':
            return step.get('add_prefix_space', False)
    return False


def _strips(step):
    """Whether a step only changes the start or end of a text."""
    if step['type'] == 'Prepend':
        return _puts_space(step)
    # a decoder has the characters to strip; a normalizer strips white space
    return step['type'] == 'Strip' and step.get('content', ' ') in _SPACES


def _plain(step):
    """The step, changed so that it does not put a space before a text."""
    if step['type'] == 'ByteLevel' and 'add_prefix_space' in step:
        return {**step, 'add_prefix_space': False}
    if step['type'] == 'Metaspace':
        rest = {k: v for k, v in step.items() if k != 'add_prefix_space'}
        return {**rest, 'prepend_scheme': 'never'}
    return step


def _unknown_id(model, tokenizer):
    """The id for unknown text; None if the vocabulary has no such token."""
    if model.get('unk_id') is not None:
        return model['unk_id']
    token = model.get('unk_token')
    return None if token is None else tokenizer.token_to_id(token)
