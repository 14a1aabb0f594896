"""What `pip install` of a wheel brings."""

import fnmatch
import runpy

import setuptools
from commands import ROOT


def test_files_that_are_not_python_are_installed(monkeypatch):
    said = {}
    monkeypatch.setattr(setuptools, 'setup', said.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path('setup.py')
    files = {
        str(file.relative_to(ROOT))
        for file in (ROOT / 'perl').rglob('*.*')
        if file.is_file() and '__pycache__' not in file.parts
    }
    data = {file for file in files if not file.endswith('.py')}
    assert 'perl/system/chips/h100.txtpb' in data
    patterns = [
        f'{package.replace(".", "/")}/{pattern}'
        for package, patterns in said['package_data'].items()
        for pattern in patterns
    ]
    named = {x for x in data if any(fnmatch.fnmatch(x, y) for y in patterns)}
    assert named == data
    for file in files - data:
        package = file.rpartition('/')[0].replace('/', '.')
        assert package in said['packages'], f'{package} has no __init__.py'
