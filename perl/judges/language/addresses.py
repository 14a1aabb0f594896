"""Server addresses and API keys, and how to hide secrets in them."""

import base64
import os
import re

import httpx2

from perl.system.errors import UserError

_VARIABLE = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')


def chat(url: str) -> str:
    """The address of the chat completions for a base address.

    Raises:
        UserError: `url` is not an HTTP address.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL('')
    whole = parsed.host and not re.search(r'\s', url)
    if parsed.scheme not in ('http', 'https') or not whole:
        raise UserError(
            f'url: {shown(url)!r} is not an HTTP address; give one like '
            'http://localhost:8000/v1'
        )
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise UserError(
            f'url: {shown(url)!r} has the port {parsed.port}, not one of 1 to 65535'
        )
    path = parsed.path.rstrip('/').removesuffix('/chat/completions')
    return str(parsed.copy_with(path=f'{path}/chat/completions', fragment=None))


def check_public(url: str) -> None:
    """Raises a `UserError` for an address that contains or may contain a secret.

    The config is saved in the run folder, including its addresses.
    """
    parsed = httpx2.URL(chat(url))
    parts = {
        'a name or password': parsed.userinfo,
        'a query (?…)': parsed.query,
        'a fragment (#…)': '#' in url,
        'a parameter (;…)': ';' in url,
    }
    for part in (part for part, there in parts.items() if there):
        raise UserError(
            f'url: {shown(url)!r} was given with {part}, which config.json would '
            'contain; leave it out, and set key_env to the name of the environment '
            'variable with the key'
        )


def shown(url: str) -> str:
    """An address without user name, password, parameters, query and fragment."""
    if not re.search(r'[@?#;]', url):
        return url
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL('')
    if not parsed.host or '@' in parsed.path:
        return '…'  # any part of it may be secret
    bare = parsed.copy_with(username=None, password=None, query=None, fragment=None)
    return str(bare).partition(';')[0]


def secret(key_env: str) -> str:
    """The key in an environment variable; '' if no variable is named.

    Raises:
        UserError: the variable is not set, or its value is not a key.
    """
    if not key_env:
        return ''
    if not _VARIABLE.fullmatch(key_env):
        raise UserError(
            'key_env: give the name of an environment variable, not the key itself; '
            'put it into a variable and name that variable'
        )
    key = os.environ.get(key_env, '').strip()
    # if it has small letters, it may be the key, given by mistake: do not print it
    name = f'{key_env} ' if key_env.isupper() else ''
    if not key:
        raise UserError(
            f'key_env: the environment variable {name}with the key is not set'
        )
    if not key.isascii() or not key.isprintable():
        raise UserError(
            f'key_env: the environment variable {name}has characters that an HTTP '
            'header cannot contain; set it to the key only'
        )
    return key


def secrets(url: str, key: str) -> list[str]:
    """All parts of an address and a key that must not be shown, longest first."""
    parsed = httpx2.URL(url)
    raw = parsed.userinfo.decode('ascii')
    login = f'{parsed.username}:{parsed.password}'
    hidden = {key, raw.partition(':')[2], parsed.password or ''}
    hidden |= {base64.b64encode(login.encode()).decode()} if raw else set()
    hidden |= {value for _, value in parsed.params.multi_items()}
    hidden |= {part.partition('=')[2] for part in parsed.query.decode().split('&')}
    return sorted(hidden - {''}, key=len, reverse=True)
