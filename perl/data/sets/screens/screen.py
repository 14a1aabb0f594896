"""A screen of numbered elements as a prompt, and the click action as a response."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Item:
    """An element of a screen.

    Attributes:
        kind: its kind, such as 'text view'; '' if unknown.
        words: its text; may be ''.
        x, y: its middle in hundredths of the screen.
    """

    kind: str
    words: str
    x: int
    y: int

    @property
    def line(self) -> str:
        """Its line in the prompt, without the action."""
        description = f'{self.kind} "{self.words}"' if self.kind else '?'
        return f'{description} at {self.x} {self.y}'


def prompt(items: Sequence[Item], instruction: str) -> str:
    """The screen with the instruction, up to the action.

    A decoder attends only to earlier tokens, so the instruction is also before the
    screen, and each line ends with the action that clicks on its element.
    """
    asked = f'instruction: {" ".join(instruction.split())}'
    shown = [f'{item.line}:{click(number)}' for number, item in enumerate(items)]
    return '\n'.join([asked, *shown, asked, 'action:'])


def click(number: int) -> str:
    """The action as a response."""
    return f' click({number})'
