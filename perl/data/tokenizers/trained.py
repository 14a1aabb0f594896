"""Trains a tokenizer on a corpus."""

import io
import re
from collections.abc import Iterable

from perl.data.tokenizers.sentence_piece import SentencePiece
from perl.system.errors import UserError

_SPECIAL = 4  # pad, bos, eos and unk


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
            # fewer than the special ids are an internal error, which says no minimum
            vocab_size=max(vocab_size, _SPECIAL),
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
        if needed := re.search(r'\d+ vs (\d+)', reason):
            raise UserError(
                f'tokenizer.size: {vocab_size} pieces are too few for the characters '
                f'of this text, which take {needed[1]}; give {needed[1]} or more'
            ) from error
        raise UserError(
            f'tokenizer.size: SentencePiece cannot make {vocab_size} pieces from this '
            f'corpus: {reason}'
        ) from error
    return SentencePiece(model.getvalue())
