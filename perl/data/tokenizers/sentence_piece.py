"""SentencePiece models without their normalisation."""

import functools
import pathlib
from collections.abc import Sequence

from perl.data.tokenizers.vocabularies import Control, LeadingSpace, digest, write
from perl.system.errors import UserError

# ModelProto.normalizer_spec {precompiled_charsmap: '', add_dummy_prefix: false,
# remove_extra_whitespaces: false} in wire format: protobuf merges an appended message
# into the previous one.
_EXACT = b'\x1a\x06\x12\x00\x18\x00\x20\x00'


class SentencePiece(LeadingSpace):
    """A SentencePiece model with an exact round trip for texts in parts.

    The model's preprocessing (normalisation of characters, merging of spaces) is
    switched off, except for the space before the start of a text. One exception: U+2581
    decodes to a space, because SentencePiece uses it for spaces. A model without pad
    uses eos as pad, one without bos uses pad as bos (as T5 does).

    Args:
        model: the serialised model.
        leading_space: whether a space is put before the start of a text; by default as
            in the model's training (`add_dummy_prefix`).
        adds_bos: whether a plain text begins with bos.

    Raises:
        UserError: it is not a SentencePiece model, or it has no end-of-sequence token.
    """

    def __init__(
        self,
        model: bytes,
        leading_space: bool | None = None,
        adds_bos: bool = True,
    ):
        import sentencepiece

        try:
            self._processor, trained = (
                sentencepiece.SentencePieceProcessor(model_proto=proto)
                for proto in (model + _EXACT, model)
            )
        except Exception as error:
            raise UserError(f'not a SentencePiece model: {error}') from error
        if leading_space is None:
            leading_space = trained.normalize('a') in ('▁a', ' a')
        self._model, self.leading_space = model, leading_space
        self.adds_bos = adds_bos
        self.size = self._processor.vocab_size()
        self.eos = self._processor.eos_id()
        if self.eos < 0:
            raise UserError('the SentencePiece model has no end-of-sequence token')
        self.pad = _or(self._processor.pad_id(), self.eos)
        self.bos = _or(self._processor.bos_id(), self.pad)

    @functools.cached_property
    def pieces(self) -> list[str]:
        """The pieces by id."""
        return [self._processor.id_to_piece(i) for i in range(self.size)]

    @functools.cached_property
    def controls(self) -> dict[str, Control]:
        special = (self.pad, self.bos, self.eos)
        return {
            piece: Control(i)
            for i, piece in enumerate(self.pieces)
            if self._processor.is_control(i) or i in special
        }

    @property
    def fingerprint(self) -> str:
        # True keeps the fingerprint of existing runs without a leading space
        how = 'leading space' if self.leading_space else True
        starts = () if self.adds_bos else ('no bos',)
        return digest('sentencepiece', how, *starts, self._model)

    def _ids(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def _text(self, ids: Sequence[int]) -> str:
        special = (self.pad, self.bos, self.eos)
        return self._processor.decode([int(i) for i in ids if i not in special])

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        return ids.count(self._processor.unk_id())

    def save(self, folder: str | pathlib.Path) -> None:
        how = {'leading_space': self.leading_space, 'adds_bos': self.adds_bos}
        meta = {'kind': 'sentencepiece', **how}
        write(folder, meta, 'tokenizer.model', self._model)


def _or(token: int, other: int) -> int:
    """`token`, or `other` if it is -1, which SentencePiece uses for 'none'."""
    return token if token >= 0 else other
