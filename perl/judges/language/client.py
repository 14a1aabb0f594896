"""A client for chat completions over HTTP, with timeouts and retries."""

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
    """A stop was requested before the next request of a question."""


class Client:
    """A client of one OpenAI-compatible server.

    Proxies from the environment are not used.

    Args:
        url: the base address; for most servers it ends in `/v1`.
        key_env: the environment variable with the key; with '' no key is sent.
        timeout: seconds from the start of a request to the end of its answer.
        retries: the most repeated requests after temporary faults.
        backoff: seconds before the first retry, doubled each time.
        patience: the longest wait in seconds that a server may request.

    Attributes:
        url: the address without secrets, for messages.
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
        # no compression: a small answer could unpack to any size
        self._headers = {'Accept-Encoding': 'identity'}
        if key:
            self._headers['Authorization'] = f'Bearer {key}'
        self._certificates = httpx2.create_ssl_context()  # also those of $SSL_CERT_FILE
        self._reached = False

    def http(self) -> httpx2.AsyncClient:
        """Connections for one event loop; use them in `async with`."""
        return httpx2.AsyncClient(
            headers=self._headers,
            trust_env=False,  # no proxy receives the questions
            verify=self._certificates,
            timeout=None,  # `complete` limits the time of the whole request
            limits=httpx2.Limits(max_connections=None),
        )

    async def complete(
        self, http: httpx2.AsyncClient, body: Mapping[str, Any], stop: asyncio.Event
    ) -> tuple[dict[str, Any], int]:
        """The first choice of a chat completion, and the number of requests.

        Args:
            http: connections from `http`.
            body: the body of the request.
            stop: an event; when it is set, no further request begins.

        Raises:
            UserError: the request fails; the message says how to fix it.
            Refused: the server refuses only this question.
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
            f'{self.url}: {fault}, {tried} times; fix the server or raise the timeout, '
            'and run the same command again: the answers so far are saved'
        )

    async def _wait(self, fault, tried, stop):
        """Waits before the next request, if there is one."""
        wait = self._backoff * 2.0 ** min(tried - 1, 60) * random.uniform(0.5, 1.0)
        wait = min(wait, self._patience) if fault.wait is None else fault.wait
        if wait > self._patience:
            raise UserError(
                f'{self.url}: {fault} and requests to wait {wait:.0f} s; run the same '
                'command again after that, the answers so far are saved'
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
                f'{self.url}: no server answers there ({reason}); start the server or '
                'correct the address'
            ) from None
        except httpx2.HTTPError as error:
            reason = replies.hide(str(error), self.secrets) or type(error).__name__
            raise Passing(f'the connection broke ({reason})') from None
        except UserError as error:
            raise UserError(f'{self.url}: {error}') from None
        if reply.status != 200:
            replies.complain(reply, self.url, body['model'], self._key_env)
        return replies.choice(reply)
