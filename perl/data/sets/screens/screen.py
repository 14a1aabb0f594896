"""A screen of numbered elements as text, and how one is asked for and clicked."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Item:
    """An element of a screen.

    Attributes:
        kind: such as 'text view'; '' where nothing says what the element is.
        words: what it says; may be ''.
        x, y: its middle in hundredths of the screen.
    """

    kind: str
    words: str
    x: int
    y: int

    @property
    def line(self) -> str:
        """Its line but for the action."""
        said = f'{self.kind} "{self.words}"' if self.kind else '?'
        return f'{said} at {self.x} {self.y}'


def prompt(items: Sequence[Item], instruction: str) -> str:
    """The screen with the instruction, up to where the action begins.

    A decoder sees only what went before: the instruction stands before the screen too,
    and each line ends with the action that clicks on its element.
    """
    asked = f'instruction: {" ".join(instruction.split())}'
    shown = [f'{item.line}:{click(number)}' for number, item in enumerate(items)]
    return '\n'.join([asked, *shown, asked, 'action:'])


def click(number: int) -> str:
    """The action as a response."""
    return f' click({number})'
