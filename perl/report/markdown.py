"""Markdown in which the texts of others are inert: they show, and do nothing else.

Samples, names of groups and messages of errors may hold anything: heading marks,
HTML, links, characters that turn the direction of writing. Whatever comes from outside
of this package goes through `inert` or `cell` before it stands in a report.
"""

import dataclasses
import html
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

# an underscore inside a word is no mark
_MARKS = re.compile(r'[\\`*\[\]|~$#@]|(?<![^\W_])_|_(?![^\W_])')
# controls, formats (as the bidirectional ones), halves of characters, line ends
_INVISIBLE = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
_JOINERS = '\u200c\u200d'  # which many scripts and emoji need


def inert(text: Any) -> str:
    """A text in one line of Markdown that has no meaning there."""
    shown = html.escape(printable(str(text)), quote=False)
    shown = _MARKS.sub(r'\\\g<0>', shown)
    # GitHub makes links of these without any mark
    shown = shown.replace('://', ':&#47;/')
    return re.sub(r'(?i)(www)\.', r'\1&#46;', shown)


def cell(text: Any, width: int) -> str:
    """A text for a cell of a table, with its line breaks; the end of a long one.

    Args:
        text: of any kind; '' for None.
        width: characters that are shown.
    """
    text = '' if text is None else str(text).strip('\r\n')
    text = text if len(text) <= width else '…' + text[-width:]
    return '<br>'.join(map(inert, text.splitlines()))


def printable(text: str) -> str:
    """A text in one line; characters that cannot be seen are shown by their number."""
    text = ' '.join(text.splitlines()).replace('\t', ' ')
    return ''.join(f'⟨U+{ord(x):04X}⟩' if _is_hidden(x) else x for x in text)


def _is_hidden(character):
    if character in _JOINERS:
        return False
    return unicodedata.category(character) in _INVISIBLE


@dataclasses.dataclass(frozen=True)
class Table:
    """A titled table of strings, which are Markdown.

    Attributes:
        title: in the report.
        header: of each column, with units.
        rows: `[rows][columns]`; '' where a figure is missing.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As a Markdown table, without the columns that are empty."""
        full = [i for i in range(len(self.header)) if any(row[i] for row in self.rows)]
        lines = [[self.header[i] for i in full], [':--'] * len(full)]
        lines += [[row[i] or '–' for i in full] for row in self.rows]
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'

    def across(self) -> 'Table':
        """Rows as columns: a few long rows side by side."""
        names, *rows = zip(self.header, *self.rows, strict=True)
        return Table(self.title, names, [row for row in rows if any(row[1:])])
