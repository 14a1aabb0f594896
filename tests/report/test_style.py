import numpy as np
import pytest

from perl.report import style


@pytest.mark.parametrize('n', [1, 2, 40, 200])
def test_smoothing_keeps_lines_straight(n):
    assert np.allclose(style.smooth(np.full(n, 3.0)), 3)
    inner = slice(n // 40 + 1, n - n // 40 - 1)
    assert np.allclose(style.smooth(np.arange(n))[inner], np.arange(n)[inner])


def test_a_name_is_one_short_line():
    assert style.short('a\nb\u202e') == 'a b⟨U+202E⟩'
    assert len(style.short('x' * 99)) == style.NAME


@style.styled
def test_a_legend_below_names_each_line_once():
    figure, panels = style.panels(2, 2)
    for axes in panels:
        axes.plot([0, 1], [0, 1], label='training')
    panels[1].plot([0, 1], [1, 0], label='held out')
    style.legend_below(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['training', 'held out']
