"""The elements of an Android screen, read from its accessibility forest.

The forest is a protocol buffer of android_env (google-deepmind/android_env,
android_env/proto/a11y): windows (1), each with a tree (11) of nodes (1). It is read
without generated classes; the constants below are field numbers.
"""

import dataclasses

from perl.data.files import protobuf
from perl.data.files.protobuf import NOTHING, Value

_WINDOWS, _TREE, _NODES = 1, 11, 1
_BOUNDS, _CLASS, _DESCRIPTION, _HINT, _TEXT = 2, 3, 4, 5, 7
_CLICKABLE, _VISIBLE, _CHILDREN = 14, 23, 25
TEXT_CHARS = 60


@dataclasses.dataclass(frozen=True)
class Element:
    """A visible node that has words or no children.

    Attributes:
        kind: the last part of its class, such as 'Button'.
        words: its text, description or hint; '' if it has none.
        box: left, top, right and bottom in pixels.
        clickable: whether it is marked as clickable.
    """

    kind: str
    words: str
    box: tuple[int, int, int, int]
    clickable: bool

    @property
    def middle(self) -> tuple[int, int]:
        """The point to click, in pixels."""
        left, top, right, bottom = self.box
        return (left + right) // 2, (top + bottom) // 2

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is inside its box."""
        left, top, right, bottom = self.box
        return left <= x < right and top <= y < bottom

    @property
    def area(self) -> int:
        """The area in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    @property
    def cut(self) -> bool:
        """Whether `line` does not show all of its words."""
        return len(self.words) > TEXT_CHARS

    @property
    def line(self) -> str:
        """Its line in a prompt: `Button "Save" at 540 1210`."""
        words = f' "{self.words[:TEXT_CHARS]}"' if self.words else ''
        x, y = self.middle
        return f'{self.kind}{words} at {x} {y}'


def elements(forest: bytes) -> list[Element]:
    """The elements of a screen from top to bottom, then left to right.

    Raises:
        Damaged: the bytes are not such a forest.
    """
    on_screen = {
        _element(node)
        for window in protobuf.repeated(memoryview(forest), _WINDOWS)
        for tree in protobuf.repeated(window, _TREE)
        for node in protobuf.repeated(tree, _NODES)
    }
    on_screen.discard(None)
    return sorted(on_screen, key=lambda x: (x.middle[1], x.middle[0], x.box, x.line))


def _element(node: Value) -> Element | None:
    """The element of a node; None if it is invisible or only contains other nodes."""
    values = dict(protobuf.fields(protobuf.message(node)))
    labels = (_words(values, number) for number in (_TEXT, _DESCRIPTION, _HINT))
    words = next(filter(None, labels), '')
    if not values.get(_VISIBLE) or (_CHILDREN in values and not words):
        return None
    sides = dict(protobuf.fields(protobuf.message(values.get(_BOUNDS, NOTHING))))
    box = tuple(protobuf.integer(sides.get(number, 0)) for number in (1, 2, 3, 4))
    if box[2] <= box[0] or box[3] <= box[1]:
        return None
    kind = _words(values, _CLASS).rpartition('.')[2] or 'View'
    return Element(kind, words, box, bool(values.get(_CLICKABLE)))


def _words(values: dict[int, Value], number: int) -> str:
    return ' '.join(protobuf.text(values.get(number, NOTHING)).split())
