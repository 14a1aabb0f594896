"""Tokenizers: trained on a corpus, or loaded from files of other projects."""

from perl.data.tokenizers.files import load
from perl.data.tokenizers.json_file import Json
from perl.data.tokenizers.llama2c import Llama2c
from perl.data.tokenizers.of_base import of_base
from perl.data.tokenizers.sentence_piece import SentencePiece
from perl.data.tokenizers.trained import train_sentencepiece
from perl.data.tokenizers.vocabularies import Bytes, Tokenizer

__all__ = [
    'Bytes',
    'Json',
    'Llama2c',
    'SentencePiece',
    'Tokenizer',
    'load',
    'of_base',
    'train_sentencepiece',
]
