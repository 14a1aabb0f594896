r"""How byte-level tokenizers cut a text into the words that no merge crosses.

A GGUF file names it (`tokenizer.ggml.pre`). Sources: llama.cpp (src/llama-vocab.cpp)
for the names, the `tokenizer.json` of the models for the expressions.
"""

import dataclasses
from typing import Any

from tokenizers import Regex, normalizers, pre_tokenizers

from perl.system.errors import UserError
from perl.system.suggest import meant

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
_LLAMA3 = rf'{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}'
_QWEN2 = rf'{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}'
_TEKKEN = (
    r'[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+'
    r'|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*'
    r'|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)


@dataclasses.dataclass(frozen=True)
class Split:
    """A way to cut.

    Attributes:
        steps: of the `tokenizers` library.
        normalizer: before them, or None.
        whole_words: a word that is a token is taken whole, whatever the merges say.
        bos: whether a text begins with bos where the file does not say.
    """

    steps: Any
    normalizer: Any = None
    whole_words: bool = False
    bos: bool = False


def _by(expression: str) -> Any:
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words = pre_tokenizers.Split(Regex(expression), 'isolated')
    return pre_tokenizers.Sequence([words, letters])


def _gpt2():
    return Split(pre_tokenizers.ByteLevel(add_prefix_space=False))


def _digits_apart():
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    return Split(pre_tokenizers.Sequence([digits, words]))


def _llama3():
    return Split(_by(_LLAMA3), whole_words=True, bos=True)


def _smaug():
    return Split(_by(_LLAMA3))


def _qwen2():
    return Split(_by(_QWEN2), normalizers.NFC())


def _tekken():
    return Split(_by(_TEKKEN), whole_words=True, bos=True)


_SPLITS = {
    **dict.fromkeys(('default', 'gpt-2', 'phi-2', 'olmo'), _gpt2),
    **dict.fromkeys(
        ('smollm', 'starcoder', 'refact', 'command-r', 'codeshell'), _digits_apart
    ),
    **dict.fromkeys(('llama-bpe', 'llama3', 'llama-v3', 'falcon3'), _llama3),
    **dict.fromkeys(('smaug-bpe', 'dbrx'), _smaug),
    **dict.fromkeys(('qwen2', 'deepseek-r1-qwen', 'megrez'), _qwen2),
    'tekken': _tekken,
}


def split_named(name: str, where: str) -> Split:
    """The way to cut that a file names.

    Raises:
        UserError: there is no such way here.
    """
    if name not in _SPLITS:
        raise UserError(
            f'model.path: {where}: nothing is known of its tokenizer.ggml.pre '
            f'{name!r:.40}{meant(str(name), _SPLITS)}; set tokenizer.path to the '
            'tokenizer.json of the model'
        )
    return _SPLITS[name]()
