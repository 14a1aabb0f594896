"""Chat completions over HTTP, with patience for a server that is slow or ill."""

import email.utils
import random
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx2

from perl.judges.language import addresses
from perl.judges.language.completions import well_formed
from perl.system.errors import UserError

_BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_REFUSED = (400, 413, 422)


class Refused(Exception):
    """The server will not answer this one question, and says why."""


class Stopped(Exception):
    """Somebody asked to stop while a question waited for its next try."""


class _Ill(Exception):
    """A fault that may pass: the reason, and how long the server wants us to wait."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class Client:
    """Asks one OpenAI-compatible server; threads may share it.

    Proxies that the environment names are not used.

    Args:
        url: the base, which most servers want to end in `/v1`.
        key_env: the environment variable with the key; without one none is sent.
        timeout: seconds that the server may be silent.
        retries: of a question that met a fault which may pass.
        backoff: seconds before the first retry, doubled each time.
        patience: the most seconds to wait when the server says how long.

    Raises:
        UserError: the address is none, or the variable is not set.
    """

    def __init__(
        self,
        url: str,
        key_env: str = '',
        timeout: float = 60.0,
        retries: int = 5,
        backoff: float = 1.0,
        patience: float = 120.0,
    ):
        self._address = addresses.chat(url)
        self.url = addresses.shown(self._address)
        self.requests = self.retried = 0
        self.stop = threading.Event()
        self._key = addresses.secret(key_env)
        self._key_env, self._timeout = key_env, timeout
        self._retries, self._backoff, self._patience = retries, backoff, patience
        headers = {'Authorization': f'Bearer {self._key}'} if self._key else {}
        self._http = httpx2.Client(
            headers=headers,
            trust_env=False,  # no proxy sees what is asked
            verify=httpx2.create_ssl_context(),  # with $SSL_CERT_FILE all the same
            timeout=timeout,
            limits=httpx2.Limits(max_connections=None),
        )
        self._lock = threading.Lock()
        self._reached = False

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The first choice of a chat completion, with its `message`.

        Raises:
            UserError: it cannot be had; what to mend.
            Refused: the server turns down this question only.
            Stopped: `stop` was set.
        """
        for attempt in range(self._retries + 1):
            if self.stop.is_set():
                raise Stopped
            try:
                return self._post(body)
            except _Ill as ill:
                fault = ill
            wait = self._backoff * 2**attempt * random.uniform(0.5, 1.0)
            wait = min(wait, self._patience) if fault.wait is None else fault.wait
            if wait > self._patience:
                raise UserError(
                    f'{self.url}: {fault} and asks to wait {wait:.0f} s; run the same '
                    'command again then, the answers so far are kept'
                )
            if attempt < self._retries and self.stop.wait(wait):
                raise Stopped
            with self._lock:
                self.retried += attempt < self._retries
        raise UserError(
            f'{self.url}: {fault}, {self._retries + 1} times; mend the server or give '
            'it longer, and run the same command again: the answers so far are kept'
        )

    def _post(self, body):
        with self._lock:
            self.requests += 1
        try:
            response = self._http.post(self._address, json=body)
            self._reached = True
        except httpx2.TimeoutException:
            raise _Ill(f'no answer within {self._timeout:g} s') from None
        except httpx2.ConnectError as error:
            if self._reached:
                raise _Ill(f'the connection failed ({error})') from None
            raise UserError(
                f'{self.url}: nobody answers there ({error}); start the server or '
                'mend the address'
            ) from None
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise _Ill(f'the connection broke ({reason})') from None
        if response.status_code != 200:
            self._complain(response, body)
        try:
            choice = response.json()['choices'][0]
            choice['message'].get('content')
            return choice
        except (ValueError, LookupError, TypeError, AttributeError):
            said = self._said(response)
            raise _Ill(f'answered with no chat completion ({said})') from None

    def _complain(self, response, body):
        status, said = response.status_code, self._said(response)
        if status in _BUSY:
            raise _Ill(f'answered {status} ({said})', _wait(response))
        if status in _REFUSED:
            raise Refused(f'{status} ({said})')
        if status in (401, 403):
            mend = (
                f'mend the key in ${self._key_env}'
                if self._key_env
                else ('name the environment variable that holds your key')
            )
            raise UserError(f'{self.url}: answered {status} ({said}); {mend}')
        if status == 404:
            raise UserError(
                f'{self.url}: answered 404 ({said}); give the base address, which '
                f'mostly ends in /v1, and a model that the server has: '
                f'{body["model"]!r} may be none'
            )
        raise UserError(
            f'{self.url}: answered {status} ({said}); give the address of an '
            'OpenAI-compatible server'
        )

    def _said(self, response):
        """What the server wrote, in a few words and without the key."""
        try:
            said = response.json()
            for name in ('error', 'message'):
                if isinstance(said, dict) and said.get(name):
                    said = said[name]
        except ValueError:
            said = response.text
        said = well_formed(' '.join(str(said).split()))
        return (said.replace(self._key, '…') if self._key else said)[:200] or 'no text'


def _wait(response):
    """Seconds of a Retry-After header, which is a number or a date."""
    text = response.headers.get('retry-after', '')
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(
            0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        )
    except ValueError:
        return None
