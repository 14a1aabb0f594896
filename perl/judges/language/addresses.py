"""Addresses of servers, the keys to them, and how both are kept out of sight."""

import base64
import os
import re

import httpx2

from perl.system.errors import UserError

_VARIABLE = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')


def chat(url: str) -> str:
    """The address of the chat completions below a base address.

    Raises:
        UserError: `url` is not an address of HTTP.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL('')
    if parsed.scheme not in ('http', 'https') or not parsed.host:
        raise UserError(
            f'url: {shown(url)!r} is not an address of HTTP; it looks like '
            'http://localhost:8000/v1'
        )
    path = parsed.path.rstrip('/').removesuffix('/chat/completions')
    return str(parsed.copy_with(path=f'{path}/chat/completions', fragment=None))


def check_public(url: str) -> None:
    """Raises a `UserError` for an address with a secret in it, or what may be one.

    A config is saved in the run folder, and its addresses with it.
    """
    parsed = httpx2.URL(chat(url))
    if parsed.userinfo or parsed.query:
        part = 'a name or password' if parsed.userinfo else 'a query (?…)'
        raise UserError(
            f'url: {shown(url)!r} came with {part}, which config.json would keep; '
            'leave it out, and name the environment variable that holds the key as '
            'key_env'
        )


def shown(url: str) -> str:
    """An address without name, password, query and fragment."""
    if not re.search(r'[@?#]', url):
        return url
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL('')
    if not parsed.host or '@' in parsed.path:
        return '…'  # nobody knows which part of it is secret
    bare = parsed.copy_with(username=None, password=None, query=None, fragment=None)
    return str(bare)


def secret(key_env: str) -> str:
    """The key in an environment variable; '' where no variable is named.

    Raises:
        UserError: the variable is not set, or it does not hold a key.
    """
    if not key_env:
        return ''
    if not _VARIABLE.fullmatch(key_env):
        raise UserError(
            'key_env: takes the name of an environment variable, not the key itself; '
            'put the key into a variable and give its name'
        )
    key = os.environ.get(key_env, '').strip()
    # a key that was given by mistake has small letters; it must not be repeated
    name = f'{key_env} ' if key_env.isupper() else ''
    if not key:
        raise UserError(
            f'key_env: the environment variable {name}with the key is not set'
        )
    if not key.isascii() or not key.isprintable():
        raise UserError(
            f'key_env: the environment variable {name}holds characters that no header '
            'can carry; set it to the key alone'
        )
    return key


def secrets(url: str, key: str) -> list[str]:
    """Everything in an address and a key that must not be shown, longest first."""
    parsed = httpx2.URL(url)
    raw = parsed.userinfo.decode('ascii')
    login = f'{parsed.username}:{parsed.password}'
    hidden = {key, raw.partition(':')[2], parsed.password or ''}
    hidden |= {base64.b64encode(login.encode()).decode()} if raw else set()
    hidden |= {value for _, value in parsed.params.multi_items()}
    hidden |= {part.partition('=')[2] for part in parsed.query.decode().split('&')}
    return sorted(hidden - {''}, key=len, reverse=True)
