"""Reads the code blocks of a page of the documentation."""

import dataclasses
import pathlib
import re

DOCS = pathlib.Path(__file__).resolve().parents[1] / 'docs'


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block: its language, the rest of that line (title), and its text."""

    language: str
    title: str
    text: str

    @property
    def commands(self):
        """The arguments of each command `python -m module …`, the module first."""
        joined = self.text.replace('\\\n', ' ')
        lines = [line.split() for line in joined.splitlines() if line.strip()]
        return [line[2:] for line in lines if line[:2] == ['python', '-m']]


def blocks(name):
    """The blocks of `docs/<name>`, in their order."""
    text = (DOCS / name).read_text()
    matches = re.findall(
        r'^```(\w+)([^\n]*)\n(.*?)^```$', text, re.MULTILINE | re.DOTALL
    )
    return [Block(language, title.strip(), body) for language, title, body in matches]
