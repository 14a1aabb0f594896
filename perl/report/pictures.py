"""Saves the pictures of a report, and shows them in a notebook."""

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
    """The path of a PNG file; a notebook shows the picture."""

    def _repr_png_(self) -> bytes:
        return self.read_bytes()


class Pictures(list[Picture]):
    """A list of pictures; a notebook shows all of them."""

    @property
    def paths(self) -> list[pathlib.Path]:
        """The paths of the pictures."""
        return list(map(pathlib.Path, self))

    def _ipython_display_(self) -> None:
        from IPython.display import display  # only IPython calls this method

        for picture in self:
            display(picture)


def pictures_in(folder: pathlib.Path) -> Pictures:
    """The pictures of a folder, sorted by name."""
    return Pictures(map(Picture, sorted(folder.glob('*.png'))))


class Painter:
    """Saves plots in a folder and returns Markdown that shows them."""

    def __init__(self, folder: pathlib.Path, prefix: str = ''):
        """
        Args:
            folder: the folder of the pictures.
            prefix: prefix of a picture's name in the page.
        """
        self._folder, self._prefix = folder, prefix
        self._taken: set[tuple[str, int]] = set()

    def __call__(self, title: str, name: str, draw: Draw) -> str:
        """Draws one picture.

        If drawing fails, the error becomes one line of the page and of stderr.

        Args:
            title: title of the picture.
            name: name of its file, without suffix.
            draw: returns the figure, or None without data.

        Returns:
            Markdown; '' without a figure.

        Raises:
            OSError: the picture could not be saved.
        """
        file = self._file(name)
        try:
            data = _rendered(draw)
        except Exception as error:  # a library may raise any error on unusual data
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
        """A path in the folder with a simple name that no other picture has."""
        simple = re.sub(r'[^A-Za-z0-9.-]', '_', name)
        at = next(n for n in itertools.count(1) if (simple, n) not in self._taken)
        self._taken.add((simple, at))
        return self._folder / (f'{simple}_{at}.png' if at > 1 else f'{simple}.png')


def no_pictures(title: str, name: str, draw: Draw) -> str:
    """Draws nothing: a `Paint` for the page without pictures."""
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
