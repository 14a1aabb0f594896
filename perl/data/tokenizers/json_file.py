"""The `tokenizer.json` of the `tokenizers` library, changed for parts of texts."""

import collections
import functools
import json
import pathlib
from collections.abc import Sequence

from perl.data.tokenizers.beside import marked
from perl.data.tokenizers.json_steps import doubles, first_only, for_parts
from perl.data.tokenizers.vocabularies import Control, LeadingSpace, digest, write
from perl.system import jsonl
from perl.system.errors import UserError


class Json(LeadingSpace):
    """A `tokenizer.json` with named special tokens.

    It is exact except for the changes of its normalizer (such as lower case or NFKC)
    and for white space that its pre-tokenizer drops; its vocabulary was trained so.

    Args:
        content: the text of the file.
        pad, bos, eos: the special tokens.
        adds_bos: whether a plain text begins with bos; None: as the file itself has it.

    Raises:
        UserError: it is not a tokenizer.json, or it lacks one of the special tokens.
    """

    def __init__(
        self,
        content: str,
        *,
        pad: str,
        bos: str,
        eos: str,
        adds_bos: bool | None = True,
    ):
        import tokenizers

        try:
            original = marked(jsonl.parse(content, unique=False), {pad, bos, eos})
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
        begins = self._tokenizer.encode('').ids[:1] == [self.bos]
        self.adds_bos = begins if adds_bos is None else adds_bos
        self.size = max(self._tokenizer.get_vocab(True).values()) + 1
        self._unknown = _unknown_id(settings['model'], self._tokenizer)
        self.space_everywhere = self.leading_space and not first_only(original)
        self.doubles_space = doubles(original)

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
        how += () if self.adds_bos else ('no bos',)
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
        how = {'leading_space': self.leading_space, 'adds_bos': self.adds_bos}
        meta = {'kind': 'json', **how, **self._special}
        write(folder, meta, 'tokenizer.json', self._content.encode())


def _unknown_id(model, tokenizer):
    """The id for unknown text; None if the vocabulary has no such token."""
    if model.get('unk_id') is not None:
        return model['unk_id']
    token = model.get('unk_token')
    return None if token is None else tokenizer.token_to_id(token)
