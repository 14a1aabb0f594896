"""Markdown in which texts from outside have no effect.

Samples, names of groups and error messages may contain anything: heading marks, HTML,
links, characters that change the direction of writing. All text from outside of this
package goes through `inert` or `cell` before it is written to a report.
"""

import dataclasses
import html
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

# an underscore inside a word is not markup
_MARKS = re.compile(r'[\\`*\[\]|~$#@]|(?<![^\W_])_|_(?![^\W_])')
# control and format characters (such as bidirectional marks), surrogates, line ends
_INVISIBLE = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
_JOINERS = '\u200c\u200d'  # needed by many scripts and emoji


def inert(text: Any) -> str:
    """A text as one line of Markdown, with all markup escaped."""
    shown = html.escape(printable(str(text)), quote=False)
    shown = _MARKS.sub(r'\\\g<0>', shown)
    # GitHub turns these into links without markup
    shown = shown.replace('://', ':&#47;/')
    return re.sub(r'(?i)(www)\.', r'\1&#46;', shown)


def cell(text: Any, width: int) -> str:
    """A text for a table cell, with its line breaks; only the end of a long text.

    Args:
        text: a value of any kind; None becomes ''.
        width: the most characters to show.
    """
    text = '' if text is None else str(text).strip('\r\n')
    text = text if len(text) <= width else '…' + text[-width:]
    return '<br>'.join(map(inert, text.splitlines()))


def printable(text: str) -> str:
    """A text in one line; invisible characters are shown by their code points."""
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
        title: its title in the report.
        header: the title of each column, with units.
        rows: `[rows][columns]`; '' for a missing figure.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table as Markdown, without empty columns."""
        full = [i for i in range(len(self.header)) if any(row[i] for row in self.rows)]
        lines = [[self.header[i] for i in full], [':--'] * len(full)]
        lines += [[row[i] or '–' for i in full] for row in self.rows]
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'

    def across(self) -> 'Table':
        """The transposed table: a few long rows side by side."""
        names, *rows = zip(self.header, *self.rows, strict=True)
        return Table(self.title, names, [row for row in rows if any(row[1:])])
