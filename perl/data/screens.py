"""A screen as numbered lines of text, and made-up questions about it."""

import dataclasses
import random
from collections.abc import Sequence

_WORDED = ('click on {words}', 'select {words}', 'click on the {words} {kind}')
_PLACED = ('select the {place} {kind}', 'click on the {place} {kind}')


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
        """Its line but for the number."""
        said = f'{self.kind} "{self.words}"' if self.kind else '?'
        return f'{said} at {self.x} {self.y}'


def show(items: Sequence[Item]) -> str:
    """The lines of a screen. A number stands behind what it is the number of: a decoder
    sees only what went before."""
    return '\n'.join(f'{item.line}: {n}' for n, item in enumerate(items))


def ask(instruction: str) -> str:
    """What is asked, up to where the answer begins."""
    return f'instruction: {" ".join(instruction.split())}\naction:'


def click(number: int) -> str:
    """The answer."""
    return f' click({number})'


def drill(items: Sequence[Item], rng: random.Random, size: int = 8) -> str:
    """Some of a screen's elements and questions about them, with answers.

    Each asks for what one element says, or for the first or last of its kind. They are
    made up: elements without a kind, and two that say the same, are not asked for.

    Args:
        items: of the screen, in order.
        rng: decides which elements and questions.
        size: how many elements, the described ones first, and half as many questions.
    """
    mixed = rng.sample(range(len(items)), len(items))
    kept = sorted(sorted(mixed, key=lambda n: not items[n].kind)[:size])
    some = [items[n] for n in kept]
    asked = []
    for number, item in enumerate(some):
        of_kind = [n for n, other in enumerate(some) if other.kind == item.kind]
        alike = [other for other in some if other.words == item.words]
        templates = []
        if item.kind and item.words and len(alike) == 1:
            templates += _WORDED
        place = {0: 'first', len(of_kind) - 1: 'last'}.get(of_kind.index(number))
        if item.kind and place and len(of_kind) > 1:
            templates += _PLACED
        if templates:
            said = rng.choice(templates)
            words = said.format(words=item.words, kind=item.kind, place=place)
            asked.append(ask(words) + click(number))
    rng.shuffle(asked)
    return '\n'.join([show(some), *asked[: size // 2]])
