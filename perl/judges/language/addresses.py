"""Addresses of servers, and the keys to them."""

import os
import re

import httpx2

from perl.system.errors import UserError


def chat(url: str) -> str:
    """Where the chat completions of a base address are.

    Raises:
        UserError: it is no address.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL('')
    if parsed.scheme not in ('http', 'https') or not parsed.host:
        raise UserError(
            f'url: {shown(url)!r} is no address; it looks like http://localhost:8000/v1'
        )
    return url.rstrip('/').removesuffix('/chat/completions') + '/chat/completions'


def shown(url: str) -> str:
    """An address without a name and password in it."""
    return re.sub(r'//[^/]*@', '//', url)


def secret(key_env: str) -> str:
    """The key in an environment variable; none of no variable.

    Raises:
        UserError: the variable is not set, or what it holds is no key.
    """
    if not key_env:
        return ''
    key = os.environ.get(key_env, '').strip()
    if not key:
        raise UserError(f'the environment variable {key_env} with the key is not set')
    if not key.isascii() or not key.isprintable():
        raise UserError(f'the key in {key_env} has characters that no header can carry')
    return key
