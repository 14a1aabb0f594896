"""Records where and how a run was computed, in `sittings.jsonl` of its folder.

The file has one line for each process that trained at least one stage of the run.
"""

import datetime
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
from typing import Any

import jax

from perl.system import hosts, jsonl

SITTINGS = 'sittings.jsonl'
_SECRET = re.compile(r'(?<=://)[^/\s]*@|(?<=[?&])([\w-]+)=[^&\s]*')


def record(workdir: pathlib.Path) -> None:
    """Appends a line about this process to `sittings.jsonl` of a run folder."""
    if hosts.is_first():
        file = workdir / SITTINGS
        jsonl.mend(file)
        jsonl.append(file, [describe()])


def describe() -> dict[str, Any]:
    """Describes this process.

    Returns:
        date (UTC, to the second), command, perl (version), commit (of the checkout that
        perl runs from, with `+` if files differ from it; '' without a checkout),
        python, jax, numpy (versions), host, platform, cores (usable by this process),
        backend, device (kind), devices (count over all hosts).
    """
    devices = jax.devices()
    now = datetime.datetime.now(datetime.UTC)
    return {
        'date': now.isoformat(timespec='seconds').replace('+00:00', 'Z'),
        'command': command(),
        'perl': _version('perl'),
        'commit': commit(pathlib.Path(__file__).parent),
        'python': platform.python_version(),
        'jax': jax.__version__,
        'numpy': _version('numpy'),
        'host': platform.node(),
        'platform': platform.platform(),
        'cores': _cores(),
        'backend': jax.default_backend(),
        'device': devices[0].device_kind,
        'devices': len(devices),
    }


def command() -> str:
    """The command line, without the secrets in URLs."""
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    program = ['python', '-m', spec.name] if spec else sys.argv[:1]
    return shlex.join(map(without_secrets, [*program, *sys.argv[1:]]))


def without_secrets(text: str) -> str:
    """A text with *** for the users, passwords and query values of URLs."""
    return _SECRET.sub(lambda match: f'{match[1]}=***' if match[1] else '***@', text)


def commit(folder: pathlib.Path) -> str:
    """The git commit of a checkout of this package; '' if the package is installed."""
    try:
        _git(folder, 'ls-files', '--error-unmatch', pathlib.Path(__file__).name)
        head = _git(folder, 'rev-parse', '--short=12', 'HEAD')
        return head + ('+' if _git(folder, 'status', '--porcelain', '-uno') else '')
    except (OSError, subprocess.SubprocessError):
        return ''


def sources() -> str:
    """The sha256 of the source files of this package, in hexadecimal digits."""
    folder, digest = pathlib.Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(folder.rglob('*.py')):
        digest.update(f'{file.relative_to(folder)}\n'.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _git(folder, *arguments):
    completed = subprocess.run(
        ['git', *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return completed.stdout.strip()


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ''


def _cores():
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
