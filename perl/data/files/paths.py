"""The files that a setting names: by path, list, folder or pattern."""

import glob
import pathlib
from collections.abc import Iterable, Sequence

from perl.data.files import tables
from perl.system.errors import UserError

Path = str | pathlib.Path


def expand(where: Path | Sequence[Path], setting: str) -> list[pathlib.Path]:
    """The named files, in order.

    Args:
        where: a file; a folder, for the tables in it; a pattern with *, ? or [ in it,
            unless a file or folder has exactly that name; or a list of these.
        setting: the name of the setting, for errors.

    Raises:
        UserError: a file does not exist, a folder or a pattern has no files, or the
            list is empty or has a file twice.
    """
    if not isinstance(where, Path):
        if not where:
            raise UserError(f'{setting}: the list is empty; name a file')
        return _once([file for one in where for file in expand(one, setting)], setting)
    path = pathlib.Path(where)
    folder, rest = _split(path)
    if path.is_dir():
        members = (x for x in path.iterdir() if _is_table(x))
        what = f'the folder {path} has no files that end in'
    elif path.exists():
        return [path]
    elif not glob.has_magic(rest):
        here = '' if path.is_absolute() else f' in {pathlib.Path.cwd()}'
        raise UserError(f'{setting}: there is no file {path}{here}')
    else:
        pattern = f'{glob.escape(str(folder))}/{rest}'
        members = map(pathlib.Path, glob.iglob(pattern, recursive=True))
        what = f'no file matches {path}; files may end in'
    files = without_copies(x for x in members if x.is_file())
    if not files:
        raise UserError(f'{setting}: {what} {", ".join(tables.SUFFIXES)}')
    return files


def _once(files: list[pathlib.Path], setting: str) -> list[pathlib.Path]:
    """The files; read twice, a file would count its rows twice."""
    seen = set()
    for file in files:
        place = file.resolve()
        if place in seen:
            raise UserError(f'{setting}: the list has {file} twice; name it once')
        seen.add(place)
    return files


def _split(path: pathlib.Path) -> tuple[pathlib.Path, str]:
    """The innermost folder of a path that exists by its very name, and the rest."""
    folder = next(x for x in (*path.parents, path) if x.exists())
    return folder, str(path.relative_to(folder))


def _is_table(file: pathlib.Path) -> bool:
    return tables.kind(file) in tables.SUFFIXES and not file.name.startswith('.')


def without_copies(files: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """The sorted files; if a file exists with and without .gz, the one without."""
    chosen = {}
    for file in sorted(files):
        chosen.setdefault(str(file).removesuffix('.gz'), file)
    return list(chosen.values())
