"""An example as a person reads it, with what is learned from it marked."""

import itertools
from collections.abc import Sequence

from perl.data import parts
from perl.data.examples import encode
from perl.data.records import Comparison, Record
from perl.data.tokenizers.vocabularies import Tokenizer

OPEN, CLOSE = '«', '»'
_MOST = 400  # characters of a prompt or a completion; longer ones lose their middle


def shown(record: Record | str, tokenizer: Tokenizer, limits: tuple[int, int]) -> str:
    """A record, cut and with its control tokens, as it is encoded: the prompt, then a
    line for each completion, with `OPEN` and `CLOSE` around what is learned.

    Args:
        record: a record or a prompt, which has nothing to be learned.
        tokenizer: encodes it.
        limits: the most tokens of the prompt and of a completion.

    Raises:
        UserError: as `encode` does.
    """
    examples, _ = encode([record], tokenizer, *limits)
    lines = [_words(examples.prompts[0].tolist(), tokenizer)]
    for tokens, mask in examples.learned(0):
        pairs = zip(tokens.tolist(), mask.tolist(), strict=True)
        runs = itertools.groupby(pairs, key=lambda pair: pair[1])
        line = ''
        for learned, run in runs:
            words = _words([token for token, _ in run], tokenizer)
            line += f'{OPEN}{words}{CLOSE}' if learned else words
        lines.append(line)
    return '\n'.join(lines)


def first(
    records: Sequence[Record | str], tokenizer: Tokenizer, limits: tuple[int, int]
) -> str:
    """The first record that `encode` keeps, as `shown` writes it.

    Raises:
        UserError: as `encode` does, or it keeps none.
    """
    kept = (x for x in records if _is_kept(x, tokenizer, limits))
    return shown(next(kept, records[0]), tokenizer, limits)


def _is_kept(record, tokenizer, limits):
    if not isinstance(record, Comparison):
        return True
    _, completions = parts.parts_of(1, record, tokenizer, limits)
    return len(parts.different(completions)) > 1


def document(text: str, tokenizer: Tokenizer, limit: int) -> str:
    """The start of a text to pre-train on, in at most `limit` tokens."""
    first, *ids = parts.document(text, tokenizer)[:limit]
    return f'{_words([first], tokenizer)}{OPEN}{_words(ids, tokenizer)}{CLOSE}'


def _words(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    names = {control.id: text for text, control in tokenizer.controls.items()}
    text = ''
    for name, run in itertools.groupby(ids, key=names.get):
        run = list(run)
        text += tokenizer.decode(run) if name is None else name * len(run)
    half = _MOST // 2
    return text if len(text) <= _MOST else f'{text[:half]} … {text[-half:]}'
