"""Models of the Hugging Face hub, fetched only where an address says `hub:`."""

import functools
import pathlib
import re

from perl.system.errors import UserError

_ADDRESS = re.compile(r'hub:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?')
# no pickle is ever fetched
_PATTERNS = (
    *('*.json', 'model*.safetensors', '*.jinja'),
    *('tokenizer.model', 'merges.txt', 'vocab.txt'),
)


def is_address(path: str) -> bool:
    """Whether a path asks for a model of the hub."""
    return path.startswith('hub:')


@functools.lru_cache  # each call asks the hub what is new
def fetch(address: str) -> pathlib.Path:
    """The folder of a model in the local cache, fetched where it is not there.

    Args:
        address: `hub:org/name` or `hub:org/name@revision`.

    Raises:
        UserError: the address is wrong, the hub has no such model or refuses it, or it
            cannot be reached. `HF_HUB_OFFLINE=1` takes only what is in the cache.
    """
    parts = _ADDRESS.fullmatch(address)
    if not parts:
        raise UserError(
            f'model.path: {address!r:.80} is not an address of the hub; write '
            'hub:org/name or hub:org/name@revision'
        )
    name, revision = parts.groups()
    import huggingface_hub  # slow, and only this needs it

    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=list(_PATTERNS)
        )
    except Exception as error:  # of its own, of its HTTP client, of the disk
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise UserError(
            f'model.path: {address} could not be fetched ({reason:.200}); fix the '
            'name or the connection, or give a local folder'
        ) from None
    return pathlib.Path(folder)


def is_cache(path: pathlib.Path) -> bool:
    """Whether a folder is that of a model in the hub's cache."""
    return path.name.startswith('models--') and (path / 'snapshots').is_dir()


def snapshot(path: pathlib.Path) -> pathlib.Path:
    """The newest version in a model's folder of the cache: that of `refs/main`, or the
    only one.

    Raises:
        UserError: there is none, or there are several and none is the main one.
    """
    main = path / 'refs' / 'main'
    found = sorted(x for x in (path / 'snapshots').iterdir() if x.is_dir())
    if main.is_file():
        found = [x for x in found if x.name == main.read_text().strip()] or found
    if len(found) != 1:
        raise UserError(
            f'model.path: {path} has {len(found)} snapshots and none is the main one; '
            'give the folder of one of them'
        )
    return found[0]
