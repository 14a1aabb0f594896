"""Imports Python files outside of packages: scripts and configs."""

import importlib.util
import pathlib
import sys
import types

from commands import ROOT


def imported(name: str) -> types.ModuleType:
    """The module of a file such as 'scripts/study.py', executed anew; it can import
    files in its folder, as if Python ran it."""
    file = pathlib.Path(ROOT, name)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return module
