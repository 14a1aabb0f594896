"""Prompts and responses in token ids, cut to their lengths: plain texts or messages."""

from collections.abc import Iterator, Sequence

from perl.data.chat import Chat, Template
from perl.data.chat.encoding import pieces, prompt_piece
from perl.data.counts import Part
from perl.data.records import Record, responses
from perl.data.tokenizers.vocabularies import Tokenizer
from perl.system.errors import UserError, within


def parts_of(
    row: int, record: Record | str, tokenizer: Tokenizer, limits: tuple[int, int]
) -> tuple[Part, list[Part]]:
    """The prompt and the responses of a record, in at most `limits` tokens.

    Raises:
        UserError: as the two functions below, or the tokenizer knows no character of a
            response; the message names the row, counted from 1.
    """
    text = record if isinstance(record, str) else record.prompt
    with within(f'row {row}' if isinstance(text, Chat) else ''):
        prompt = prompt_part(text, tokenizer, limits[0])
        parts = [
            response_part(text, response, tokenizer, limits[1])
            for response in responses(record)
        ]
    if not all(part.ids for part in parts):
        raise UserError(
            f'row {row}: the tokenizer knows no character of a response, so the model '
            'cannot learn from it; drop the row, or use another tokenizer'
        )
    return prompt, parts


def different(completions: Sequence[Part]) -> list[Part]:
    """The completions without those that have the tokens of a better one."""
    first: dict[tuple[int, ...], Part] = {}
    for part in completions:
        first.setdefault(tuple(part.tokens), part)
    return list(first.values())


def document(text: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of a document: bos where the tokenizer puts it, the text, eos."""
    bos = [tokenizer.bos] if tokenizer.adds_bos else []
    return [*bos, *tokenizer.encode(text, start=True), tokenizer.eos]


def prompt_part(prompt: str, tokenizer: Tokenizer, limit: int) -> Part:
    """A prompt in at most `limit` tokens.

    A plain text keeps bos, where the tokenizer puts it before a text, and its last
    tokens; an empty text is bos alone. Messages keep the system prompt and the last
    exchanges that fit; where the last one alone is too long, the first token of the
    rendering and its last ones.

    Raises:
        UserError: messages have no chat template, or the template raises an error.
    """
    if isinstance(prompt, Chat):
        return _chat(prompt, tokenizer, limit)
    ids = tokenizer.encode(prompt, start=True)
    first = [tokenizer.bos] if tokenizer.adds_bos or not ids else []
    cut = max(0, len(ids) + len(first) - limit)
    return Part(prompt, ids, [*first, *ids[cut:]], cut, prompt)


def _chat(prompt: Chat, tokenizer: Tokenizer, limit: int) -> Part:
    template = _template(tokenizer)
    whole = piece = prompt_piece(tokenizer, template, prompt.messages)
    later = _later(prompt.messages)
    while len(piece.ids) > limit and (messages := next(later, None)):
        piece = prompt_piece(tokenizer, template, messages)
    if not piece.ids:
        raise template.error('it renders nothing at these messages')
    first, *ids = piece.ids
    tokens = [first, *ids[max(0, len(ids) + 1 - limit) :]]
    cut = len(whole.ids) - len(tokens)
    return Part(whole.text, whole.ids, tokens, cut, piece.last)


def _later(messages: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """The messages without the first exchange, without the first two, and so on; an
    exchange begins with a message of the user, and the system prompt stays."""
    roles = [role for role, _ in messages]
    head = next((i for i, role in enumerate(roles) if role != 'system'), len(roles))
    for at in range(head + 1, len(messages)):
        if roles[at] == 'user' and roles[at - 1] != 'user':
            yield [*messages[:head], *messages[at:]]


def response_part(prompt: str, response: str, tokenizer: Tokenizer, limit: int) -> Part:
    """What follows a prompt, in at most `limit` tokens, the end included.

    After a plain prompt it is a plain text. After messages it is the content of one
    turn of the assistant, or a `Chat` of several messages, and its mask is of the turns
    of the assistant.

    Raises:
        UserError: as `perl.data.chat.turns.split` does.
    """
    if isinstance(prompt, Chat):
        return _turns(prompt, response, tokenizer, limit)
    # after an empty prompt the response begins the text
    ids = tokenizer.encode(response, start=not prompt)
    tokens = [*ids, tokenizer.eos]
    cut = max(0, len(tokens) - limit)
    return Part(response, ids, tokens[:limit], cut, response)


def _turns(prompt: Chat, response: str, tokenizer: Tokenizer, limit: int) -> Part:
    turns = (('assistant', response),)
    if isinstance(response, Chat):
        turns = response.messages
    messages, first = [*prompt.messages, *turns], len(prompt.messages)
    found = pieces(tokenizer, _template(tokenizer), messages, first)[1:]
    while not found[-1].trained:  # what the template writes after the last turn
        found.pop()
    ids = [i for piece in found for i in piece.ids]
    mask = [piece.trained for piece in found for _ in piece.ids]
    tokens = _until_end(ids, tokenizer)
    text, cut = ''.join(piece.text for piece in found), max(0, len(tokens) - limit)
    tokens = tokens[:limit]
    return Part(text, ids, tokens, cut, found[0].first, mask[: len(tokens)])


def _until_end(ids: list[int], tokenizer: Tokenizer) -> list[int]:
    """The ids up to the token that ends the last turn, where the policy stops. The
    blocks of some templates hold what is written after it too, such as a line end."""
    end = getattr(tokenizer, 'stops', (tokenizer.eos,))[0]
    return ids[: len(ids) - ids[::-1].index(end)] if end in ids else ids


def _template(tokenizer: Tokenizer) -> Template:
    template = getattr(tokenizer, 'template', None)
    if template is None:
        raise UserError(
            'there are messages, but the base brings no chat template; set '
            'tokenizer.chat_template to the file of one'
        )
    return template
