"""Lists the commands: `python -m perl`."""

import ast
import importlib.util
import pathlib

import perl


def listing() -> str:
    """One line for each command: how it is called, and what it does."""
    rows = {name: _summary(name) for name in perl.COMMANDS}
    lines = [f'  python -m perl.{name:9} {text}' for name, text in rows.items()]
    return '\n'.join(
        ['The commands; --help after one of them lists its flags:', *lines]
    )


def _summary(name):
    """The first line of a command's module, which is read but not imported."""
    file = pathlib.Path(importlib.util.find_spec(f'perl.{name}').origin)
    text = ast.get_docstring(ast.parse(file.read_text(encoding='utf-8')))
    return text.splitlines()[0]


if __name__ == '__main__':
    print(listing())
