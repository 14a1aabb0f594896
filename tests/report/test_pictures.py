import pathlib
import sys
import types

import pytest
from matplotlib.figure import Figure

from perl.report.pictures import Painter, Pictures, no_pictures, pictures_in
from perl.system import atomic


def plot():
    figure = Figure(figsize=(1, 1))
    figure.subplots().set_title('$x_{$')  # not mathematics
    return figure


def test_a_picture_is_saved_and_shown(tmp_path):
    paint = Painter(tmp_path / 'plots', 'plots/')
    assert paint('A *b*', 'a', plot) == '![A \\*b\\*](plots/a.png)\n'
    assert (tmp_path / 'plots' / 'a.png').read_bytes().startswith(b'\x89PNG')
    assert paint('none', 'none', lambda: None) == ''
    assert no_pictures('a', 'a', plot) == ''


@pytest.mark.parametrize('name', ['a b', 'a)b', 'a/../b', 'a\nb', 'a#b', 'a%b', 'é'])
def test_the_name_of_a_file_is_simple(tmp_path, name):
    paint = Painter(tmp_path)
    paint('', name, plot), paint('', name, plot)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2, 'no picture takes the place of another'
    assert all(x.replace('.', '').replace('_', '').isascii() for x in names)
    assert not set(' )#%\n') & set(''.join(names))


def test_a_picture_that_fails_is_one_line(tmp_path, capsys):
    def fail():
        raise ValueError('odd\n# data \x1b[31m')

    line = Painter(tmp_path)('A', 'a', fail)
    assert line.splitlines() == [
        '> a.png could not be drawn: ValueError: odd \\# data ⟨U+001B⟩\\[31m'
    ]
    said = capsys.readouterr().err.splitlines()
    assert said == ['a.png could not be drawn: ValueError: odd # data ⟨U+001B⟩[31m']
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_not_swallowed(tmp_path, monkeypatch):
    def full(file, data):
        raise OSError(28, 'No space left on device', str(file))

    monkeypatch.setattr(atomic, 'write_bytes', full)
    with pytest.raises(OSError, match='No space left'):
        Painter(tmp_path)('A', 'a', plot)


def test_a_notebook_shows_all_pictures(tmp_path, monkeypatch):
    paint = Painter(tmp_path)
    for name in 'ba':
        paint(name, name, plot)
    found = pictures_in(tmp_path)
    assert isinstance(found, Pictures)
    assert found.paths == [tmp_path / 'a.png', tmp_path / 'b.png']
    assert all(isinstance(picture, pathlib.Path) for picture in found)
    assert found[0]._repr_png_() == (tmp_path / 'a.png').read_bytes()
    shown = []
    display = types.ModuleType('IPython.display')
    display.display = shown.append
    monkeypatch.setitem(sys.modules, 'IPython', types.ModuleType('IPython'))
    monkeypatch.setitem(sys.modules, 'IPython.display', display)
    found._ipython_display_()
    assert shown == found.paths
