"""Keeps compiled programs on the disk, so that the next process need not compile them.

JAX reads them by what they compute and by its own version. Programs for a CPU use the
instructions of the processor that they were compiled on, so each kind of processor has
a folder of its own: a home folder may be shared by different machines.
"""

import hashlib
import os
import pathlib
import platform

import jax

NAME = 'JAX_COMPILATION_CACHE_DIR'  # of the environment; it wins, and '' keeps nothing
_MOST = 4 * 2**30  # bytes; what was not read for the longest time goes first


def turn_on() -> None:
    """Turns the cache on, in the user's cache folder, if that can be written."""
    if NAME in os.environ:
        return
    if folder := own_folder('compiled'):
        jax.config.update('jax_compilation_cache_dir', str(folder))
        jax.config.update('jax_compilation_cache_max_size', _MOST)


def own_folder(name: str) -> pathlib.Path | None:
    """A folder of this processor in the user's cache folder, made if it is not there;
    None where that cannot be: nothing is lost but time."""
    try:
        home = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
        folder = pathlib.Path(home) / 'perl' / name / _processor()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # it cannot be written, or the user has no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _processor():
    """A short name of the instructions that this processor has."""
    try:
        lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
        said = {x for x in lines if x.startswith(('flags', 'Features', 'model name'))}
    except OSError:  # not Linux
        said = {platform.processor()}
    text = '\n'.join([platform.machine(), *sorted(said)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
