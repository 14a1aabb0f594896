"""Prompt and response as one text, for reward models of other projects."""

from collections.abc import Sequence

import numpy as np

from perl.data import chat
from perl.data.chat import ChatTokenizer, as_messages
from perl.data.examples import Examples
from perl.data.tokenizers.vocabularies import Tokenizer


def encode_whole(
    prompts: Sequence[str],
    texts: Sequence[str],
    tokenizer: Tokenizer,
    max_prompt: int,
    max_response: int,
    pad: int | None = None,
) -> Examples:
    """Encodes n prompts with a response each as whole texts, whose last token a foreign
    reward model reads.

    Where the tokenizer has a chat template, it renders the response as the turn of the
    assistant after the messages of the prompt (a plain prompt is a turn of the user),
    with all that the template writes after it. A text that is too long loses what
    follows its first token.

    Args:
        prompts, texts: n of each; a prompt may be messages.
        tokenizer: of the reward model.
        max_prompt, max_response: their sum is the most tokens of a text.
        pad: the id that transformers takes for padding in this model, so that it reads
            the last other token; None reads the last one.
    """
    rows = []
    for prompt, text in zip(prompts, texts, strict=True):
        if isinstance(tokenizer, ChatTokenizer):
            turns = [*as_messages(prompt).messages, ('assistant', text.strip())]
            ids, _ = chat.encode(tokenizer.tokenizer, tokenizer.template, turns)
        else:
            ids = tokenizer.encode(prompt + text, start=True)
            ids = [*[tokenizer.bos] * tokenizer.adds_bos, *ids]
        while len(ids) > 1 and ids[-1] == pad:
            ids.pop()
        cut = max(0, len(ids) - max_prompt - max_response)
        rows.append(np.array([*ids[:1], *ids[1 + cut :]], np.int32))
    ends = [(row[-1:],) for row in rows]
    labels = np.ones(len(rows), np.float32)
    return Examples([row[:-1] for row in rows], ends, labels, tokenizer.pad)
