"""Pictures of a report: how they are saved, and how a notebook shows them."""

import io
import itertools
import pathlib
import re
import sys
import warnings
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure

from perl.report.markdown import inert, printable
from perl.report.style import STYLE
from perl.system import atomic

Draw = Callable[[], Figure | None]
Paint = Callable[[str, str, Draw], str]  # see `Painter`


class Picture(type(pathlib.Path())):
    """The path of a PNG, which a notebook shows as the picture itself."""

    def _repr_png_(self) -> bytes:
        return self.read_bytes()


class Pictures(list[Picture]):
    """Several pictures, all of which a notebook shows."""

    @property
    def paths(self) -> list[pathlib.Path]:
        """Where they are."""
        return list(map(pathlib.Path, self))

    def _ipython_display_(self) -> None:
        from IPython.display import display  # who calls this is IPython

        for picture in self:
            display(picture)


def pictures_in(folder: pathlib.Path) -> Pictures:
    """The pictures of a folder, by name."""
    return Pictures(map(Picture, sorted(folder.glob('*.png'))))


class Painter:
    """Saves plots in a folder; says in Markdown how a page shows them."""

    def __init__(self, folder: pathlib.Path, prefix: str = ''):
        """
        Args:
            folder: of the pictures.
            prefix: of a picture's name, as the page has it.
        """
        self._folder, self._prefix = folder, prefix
        self._taken: set[tuple[str, int]] = set()

    def __call__(self, title: str, name: str, draw: Draw) -> str:
        """Draws one picture.

        A picture that cannot be drawn costs no other figure: it becomes one line of the
        page, and of stderr.

        Args:
            title: of the picture.
            name: of its file, without an ending.
            draw: makes it, or None where data are missing.

        Returns:
            Markdown; '' without a figure.

        Raises:
            OSError: the picture could not be saved.
        """
        file = self._file(name)
        try:
            data = _rendered(draw)
        except Exception as error:  # whatever a library makes of odd data
            why = printable(f'{type(error).__name__}: {error}')[:300]
            line = f'{file.name} could not be drawn: {why}'
            print(line, file=sys.stderr, flush=True)
            return f'> {inert(line)}\n'
        if data is None:
            return ''
        self._folder.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(file, data)
        return f'![{inert(title)}]({self._prefix}{file.name})\n'

    def _file(self, name):
        """A file of the folder that no other picture has, with a simple name."""
        simple = re.sub(r'[^A-Za-z0-9.-]', '_', name)
        at = next(n for n in itertools.count(1) if (simple, n) not in self._taken)
        self._taken.add((simple, at))
        return self._folder / (f'{simple}_{at}.png' if at > 1 else f'{simple}.png')


def no_pictures(title: str, name: str, draw: Draw) -> str:
    """Draws nothing: for the page that is written before its pictures."""
    return ''


def _rendered(draw):
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing')  # a script without a font
        figure = draw()
        if figure is None:
            return None
        data = io.BytesIO()
        figure.savefig(data, format='png')
    return data.getvalue()
