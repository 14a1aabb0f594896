"""Replies of a server over HTTP: read up to a limit, and sorted into kinds of fault."""

import dataclasses
import email.utils
import time
import zlib
from collections.abc import Sequence
from typing import Any

import httpx2

from perl.judges.language.completions import well_formed
from perl.system import jsonl
from perl.system.errors import UserError

LIMIT = 16 * 2**20  # bytes of a reply

_BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_REFUSED = (400, 413, 422)


class Refused(Exception):
    """The server will not answer this one question, and says why."""


class Passing(Exception):
    """A fault that may pass.

    Attributes:
        wait: how many seconds the server asks to wait, or None.
    """

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


@dataclasses.dataclass(frozen=True)
class Reply:
    """A whole reply.

    Attributes:
        status: of HTTP.
        headers: of HTTP.
        content: the body, uncompressed.
        secrets: texts that must not be shown, longest first.
    """

    status: int
    headers: httpx2.Headers
    content: bytes
    secrets: Sequence[str] = ()

    @property
    def words(self) -> str:
        """The text of the server, in a few words and without secrets."""
        try:
            text = jsonl.parse(self.content)
            for name in ('error', 'message'):
                if isinstance(text, dict) and text.get(name):
                    text = text[name]
            text = str(text)
        except ValueError:
            text = self.content.decode('utf-8', 'replace')
        text = hide(well_formed(' '.join(text[:100_000].split())), self.secrets)
        return text[:200] or 'no text'


def hide(text: str, secrets: Sequence[str]) -> str:
    """A text with each secret replaced by '…'."""
    for secret in secrets:
        text = text.replace(secret, '…')
    return text


async def read(response: httpx2.Response, secrets: Sequence[str]) -> Reply:
    """The reply, of at most `LIMIT` bytes even when it is compressed.

    Raises:
        UserError: it is larger.
        Passing: it is compressed in a way that nobody asked for, or damaged.
    """
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > LIMIT:
            raise _too_large()
    coding = response.headers.get('content-encoding', 'identity').lower()
    if coding in ('gzip', 'x-gzip', 'deflate'):
        content = _decompressed(content)
    elif coding != 'identity':
        raise Passing(f'answered in the unknown encoding {hide(coding, secrets):.20}')
    return Reply(response.status_code, response.headers, bytes(content), secrets)


def choice(reply: Reply) -> dict[str, Any]:
    """The first choice of a chat completion, with its `message`.

    Raises:
        Passing: the reply is not a chat completion.
    """
    try:
        first = jsonl.parse(reply.content)['choices'][0]
        first['message'].get('content')
    except (ValueError, LookupError, TypeError, AttributeError):
        fault = f'answered with no chat completion ({reply.words})'
        raise Passing(fault) from None
    return first


def complain(reply: Reply, url: str, model: str, key_env: str) -> None:
    """Raises what a reply that is not a success means.

    Args:
        reply: of a status other than 200.
        url: the address, as it may be shown.
        model: the model that was asked for.
        key_env: the environment variable of the key, or ''.

    Raises:
        Passing: the server is busy or broken.
        Refused: it will not answer this question.
        UserError: a person has to mend something.
    """
    status, words = reply.status, reply.words
    if status in _BUSY:
        raise Passing(f'answered {status} ({words})', _wait(reply))
    if status in _REFUSED:
        raise Refused(f'{status} ({words})')
    if status in (401, 403):
        if key_env:
            mend = f'mend the key in ${key_env}'
        else:
            mend = 'name the environment variable that holds your key'
    elif status == 404:
        mend = (
            'give the base address, which mostly ends in /v1, and a model that the '
            f'server has: {model!r} may be none'
        )
    else:
        mend = 'give the address of an OpenAI-compatible server'
    raise UserError(f'{url}: answered {status} ({words}); {mend}')


def _decompressed(content):
    # 32 + MAX_WBITS reads the headers of both gzip and zlib
    unpack = zlib.decompressobj(32 + zlib.MAX_WBITS)
    try:
        plain = unpack.decompress(content, LIMIT + 1)
    except zlib.error as error:
        raise Passing(f'answered with damaged compression ({error})') from None
    if len(plain) > LIMIT:
        raise _too_large()
    return plain


def _too_large():
    return UserError(
        f'answered with more than {LIMIT >> 20} MiB; give the address of an '
        'OpenAI-compatible server, or ask for fewer tokens or no log-probs'
    )


def _wait(reply):
    """Seconds of a Retry-After header, which is a number or a date; None without."""
    text = reply.headers.get('retry-after', '')
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds else None
