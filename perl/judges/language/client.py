"""Chat completions over HTTP, with patience for a server that is slow or broken."""

import asyncio
import math
import random
from collections.abc import Mapping
from typing import Any

import httpx2

from perl.judges.language import addresses, replies
from perl.judges.language.replies import Passing
from perl.system.errors import UserError


class Stopped(Exception):
    """A stop was asked for while a question waited for its next try."""


class Client:
    """Asks one OpenAI-compatible server.

    Proxies that the environment names are not used.

    Args:
        url: the base address, which most servers want to end in `/v1`.
        key_env: the environment variable with the key; without one no key is sent.
        timeout: seconds from the start of a request to the end of its answer.
        retries: how often a question is asked again after a fault that may pass.
        backoff: seconds before the first retry, doubled each time.
        patience: the longest wait in seconds that a server may ask for.

    Attributes:
        url: the address as it may be shown.
        secrets: texts that must not be shown or written, longest first.

    Raises:
        UserError: a setting is wrong, or the variable is not set.
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
        if not 0 < timeout < math.inf:
            raise UserError(
                f'timeout: {timeout} must be a number of seconds greater than 0'
            )
        self._address = addresses.chat(url)
        self.url = addresses.shown(self._address)
        key = addresses.secret(key_env)
        self.secrets = addresses.secrets(self._address, key)
        self._key_env, self._timeout = key_env, timeout
        self._retries, self._backoff, self._patience = retries, backoff, patience
        # asks for no compression: a small answer could grow without bound
        self._headers = {'Accept-Encoding': 'identity'}
        if key:
            self._headers['Authorization'] = f'Bearer {key}'
        self._certificates = httpx2.create_ssl_context()  # of $SSL_CERT_FILE as well
        self._reached = False

    def http(self) -> httpx2.AsyncClient:
        """Connections for one event loop, to be used in `async with`."""
        return httpx2.AsyncClient(
            headers=self._headers,
            trust_env=False,  # no proxy sees what is asked
            verify=self._certificates,
            timeout=None,  # `complete` bounds the whole request
            limits=httpx2.Limits(max_connections=None),
        )

    async def complete(
        self, http: httpx2.AsyncClient, body: Mapping[str, Any], stop: asyncio.Event
    ) -> tuple[dict[str, Any], int]:
        """The first choice of a chat completion, and how many requests it took.

        Args:
            http: from `http`.
            body: of the request.
            stop: no further request begins when it is set.

        Raises:
            UserError: it cannot be had; the line says what to mend.
            Refused: the server turns down this question only.
            Stopped: `stop` is set.
        """
        for tried in range(1, self._retries + 2):
            if stop.is_set():
                raise Stopped
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._post(http, body), tried
            except TimeoutError:
                fault = Passing(f'no answer within {self._timeout:g} s')
            except Passing as passing:
                fault = passing
            await self._wait(fault, tried, stop)
        raise UserError(
            f'{self.url}: {fault}, {tried} times; mend the server or give it longer, '
            'and run the same command again: the answers so far are kept'
        )

    async def _wait(self, fault, tried, stop):
        """Waits before the next try, if there is one."""
        wait = self._backoff * 2.0 ** min(tried - 1, 60) * random.uniform(0.5, 1.0)
        wait = min(wait, self._patience) if fault.wait is None else fault.wait
        if wait > self._patience:
            raise UserError(
                f'{self.url}: {fault} and asks to wait {wait:.0f} s; run the same '
                'command again then, the answers so far are kept'
            )
        if tried <= self._retries:
            try:
                await asyncio.wait_for(stop.wait(), wait)
            except TimeoutError:
                return
            raise Stopped

    async def _post(self, http, body):
        try:
            async with http.stream('POST', self._address, json=body) as response:
                self._reached = True
                reply = await replies.read(response, self.secrets)
        except httpx2.ConnectError as error:
            reason = replies.hide(str(error), self.secrets)
            if self._reached:
                raise Passing(f'the connection failed ({reason})') from None
            raise UserError(
                f'{self.url}: nobody answers there ({reason}); start the server or '
                'mend the address'
            ) from None
        except httpx2.HTTPError as error:
            reason = replies.hide(str(error), self.secrets) or type(error).__name__
            raise Passing(f'the connection broke ({reason})') from None
        except UserError as error:
            raise UserError(f'{self.url}: {error}') from None
        if reply.status != 200:
            replies.complain(reply, self.url, body['model'], self._key_env)
        return replies.choice(reply)
