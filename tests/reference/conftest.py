"""The references: torch, transformers, TRL and PEFT, which `scripts/test` installs."""

import importlib.util
import os
import pathlib

import pytest

os.environ.setdefault('HF_HUB_OFFLINE', '1')
NEEDED = ('torch', 'transformers', 'trl', 'peft')
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
collect_ignore_glob = ['test_*.py'] if MISSING else []


def pytest_collection_modifyitems(items):
    """All in one process, since torch alone takes half a gigabyte of it."""
    here = pathlib.Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group('reference'))
