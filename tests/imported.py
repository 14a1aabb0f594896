"""Python files that belong to no package, as modules: scripts and configs."""

import importlib.util
import pathlib
import sys
import types

from commands import ROOT


def imported(name: str) -> types.ModuleType:
    """The module of a file such as 'scripts/study.py', freshly run; it may import what
    lies beside it, as it may when Python is given the file."""
    file = pathlib.Path(ROOT, name)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return module
