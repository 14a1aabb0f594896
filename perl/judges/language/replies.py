"""HTTP replies of a server: reads them up to a limit and classifies faults."""

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
from perl.system.sizes import readable

LIMIT = 16 * 2**20  # bytes of a reply

_BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_REFUSED = (400, 413, 422)


class Refused(Exception):
    """The server refuses this question; the message has its reason."""


class Passing(Exception):
    """A fault that may be temporary.

    Attributes:
        wait: the seconds that the server requests to wait, or None.
    """

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


@dataclasses.dataclass(frozen=True)
class Reply:
    """A complete reply.

    Attributes:
        status: the HTTP status.
        headers: the HTTP headers.
        content: the uncompressed body.
        secrets: texts that must not be shown, longest first.
    """

    status: int
    headers: httpx2.Headers
    content: bytes
    secrets: Sequence[str] = ()

    @property
    def words(self) -> str:
        """The beginning of the server's message, without secrets."""
        try:
            text = jsonl.parse(self.content, unique=False)
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
    """The reply, of at most `LIMIT` bytes after decompression.

    Raises:
        UserError: the reply is larger.
        Passing: its compression is unknown, or it is damaged.
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
        first = jsonl.parse(reply.content, unique=False)['choices'][0]
        first['message'].get('content')
    except (ValueError, LookupError, TypeError, AttributeError):
        fault = f'did not answer with a chat completion ({reply.words})'
        raise Passing(fault) from None
    return first


def complain(reply: Reply, url: str, model: str, key_env: str) -> None:
    """Raises the error for a reply without success.

    Args:
        reply: a reply with a status other than 200.
        url: the address without secrets.
        model: the requested model.
        key_env: the environment variable of the key, or ''.

    Raises:
        Passing: the server is busy or broken.
        Refused: the server refuses this question.
        UserError: the user must change a setting.
    """
    status, words = reply.status, reply.words
    if status in _BUSY:
        raise Passing(f'answered {status} ({words})', _wait(reply))
    if status in _REFUSED:
        raise Refused(f'{status} ({words})')
    if status in (401, 403):
        if key_env:
            fix = f'correct the key in ${key_env}'
        else:
            fix = 'name the environment variable that has your key'
    elif status == 404:
        fix = (
            'give the base address, which mostly ends in /v1, and a model that the '
            f'server has: it may not have {model!r}'
        )
    else:
        fix = 'give the address of an OpenAI-compatible server'
    raise UserError(f'{url}: answered {status} ({words}); {fix}')


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
        f'answered with more than {readable(LIMIT)}; give the address of an '
        'OpenAI-compatible server, or request fewer tokens or no log-probs'
    )


def _wait(reply):
    """The seconds of a Retry-After header (a number or a date), or None."""
    text = reply.headers.get('retry-after', '')
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds else None
