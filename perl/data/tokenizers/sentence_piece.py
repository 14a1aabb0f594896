"""SentencePiece models, with their normalisation switched off."""

import pathlib
from collections.abc import Sequence

from perl.data.tokenizers.vocabularies import LeadingSpace, digest, write
from perl.system.errors import UserError

# ModelProto.normalizer_spec {precompiled_charsmap: '', add_dummy_prefix: false,
# remove_extra_whitespaces: false} on the wire: protobuf merges a message that is
# appended into the one before it.
_EXACT = b'\x1a\x06\x12\x00\x18\x00\x20\x00'


class SentencePiece(LeadingSpace):
    """A SentencePiece model, exact: `encode(prompt) + encode(response)` is the text.

    What the model does to a text before it cuts it into pieces is switched off
    (normalisation of characters, the collapse of spaces), but for the space before the
    start of a text. Even so U+2581, with which SentencePiece writes a space, becomes
    one. A model without a pad takes eos for it, one without a bos takes pad (as T5
    does).

    Args:
        model: the serialised model.
        leading_space: whether a space goes before the start of a text; by default where
            the model was trained so (`add_dummy_prefix`).

    Raises:
        UserError: it is not a SentencePiece model, or it has no end-of-sequence token.
    """

    def __init__(self, model: bytes, leading_space: bool | None = None):
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
        self.size = self._processor.vocab_size()
        self.eos = self._processor.eos_id()
        if self.eos < 0:
            raise UserError('the SentencePiece model has no end-of-sequence token')
        self.pad = _or(self._processor.pad_id(), self.eos)
        self.bos = _or(self._processor.bos_id(), self.pad)

    @property
    def fingerprint(self) -> str:
        # True is what runs without a leading space have always been known by
        how = 'leading space' if self.leading_space else True
        return digest('sentencepiece', how, self._model)

    def _ids(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def _text(self, ids: Sequence[int]) -> str:
        special = (self.pad, self.bos, self.eos)
        return self._processor.decode([int(i) for i in ids if i not in special])

    def unknown(self, text: str, ids: Sequence[int]) -> int:
        return ids.count(self._processor.unk_id())

    def save(self, folder: str | pathlib.Path) -> None:
        meta = {'kind': 'sentencepiece', 'leading_space': self.leading_space}
        write(folder, meta, 'tokenizer.model', self._model)


def _or(token: int, other: int) -> int:
    """`token`, or `other` where SentencePiece says -1 for 'there is none'."""
    return token if token >= 0 else other
