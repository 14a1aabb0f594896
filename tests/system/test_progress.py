"""What a stage says of itself while it runs."""

import io

import pytest

from perl.system import progress
from perl.system.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the module sees, to be moved by hand."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


def lines(capsys, clock, seconds, total=100, done=0):
    """The lines of a stage whose steps take these seconds."""
    with Progress(total, done, 'sft', ('loss', 'val_loss')) as shown:
        for took in seconds:
            clock[0] += took
            shown.step({'loss': 1.23456, 'grad_norm': 5.0})
    out, err = capsys.readouterr()
    assert out == ''
    return err.splitlines()


def test_short_stages_say_nothing(capsys, clock):
    assert lines(capsys, clock, [1.0] * 29) == []


def test_a_line_at_least_every_half_minute(capsys, clock):
    """With step, speed, time that is left, and the metrics that are there."""
    said = lines(capsys, clock, [2.0] * 60)
    assert said[0] == 'sft: step 15 of 100, 2 s a step, 02:50 left, loss 1.23'
    assert said[1].startswith('sft: step 30 of 100, ')
    assert len(said) == 4
    fast = lines(capsys, clock, [0.25] * 120, total=240)
    assert fast == ['sft: step 120 of 240, 4 steps/s, 00:30 left, loss 1.23']


def test_slow_steps_have_a_line_each(capsys, clock):
    said = lines(capsys, clock, [20.0, 20.0, 40.0], total=3)
    assert [line.split(',')[0] for line in said] == [
        f'sft: step {step} of 3' for step in (1, 2, 3)
    ]


def test_the_compilation_is_not_taken_for_the_speed(capsys, clock):
    """The first step takes 25 s, all others 0.5 s: 499 of them take four minutes."""
    said = lines(capsys, clock, [25.0] + [0.5] * 61, total=500)
    first = 'sft: step 1 of 500, the first step took 25 s with its compilation, loss'
    assert said[0] == f'{first} 1.23'
    assert said[1] == 'sft: step 61 of 500, 2 steps/s, 03:39 left, loss 1.23'


def test_a_resume_counts_from_where_it_began(capsys, clock):
    said = lines(capsys, clock, [10.0] * 3, total=100, done=90)
    assert said == ['sft: step 93 of 100, 10 s a step, 01:10 left, loss 1.23']


def test_a_terminal_has_a_bar(monkeypatch, clock):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr('sys.stderr', screen)
    with Progress(2, 0, 'sft', ('loss',)) as shown:
        clock[0] += 100.0
        shown.step({'loss': 0.5})
    assert 'sft' in screen.getvalue() and 'loss=0.5' in screen.getvalue()
    assert 'step 1 of 2' not in screen.getvalue()
