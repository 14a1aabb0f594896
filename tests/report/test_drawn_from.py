"""A report is drawn when what it shows has changed, whatever the clock says."""

import os

import pytest

from perl.report import drawn_from
from perl.system import jsonl

MADE = ('report.md', 'plots/time.png', 'tables/results.csv')


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / 'sft').mkdir()
    jsonl.save(tmp_path / 'results.json', {'sft': {'loss': 1}})
    jsonl.append(tmp_path / 'sft' / 'metrics.jsonl', [{'step': 1}])
    return tmp_path


def redrawn(workdir):
    """Whether a start draws the report."""
    drawn = []

    def write(folder):
        drawn.append(folder)
        for name in MADE:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text('whole')

    drawn_from.redraw(workdir, write)
    return drawn == [workdir]


def test_once_for_the_same_files(workdir):
    assert redrawn(workdir) and not redrawn(workdir)


@pytest.mark.parametrize(
    'file',
    [
        'results.json',
        'config.json',
        'sittings.jsonl',
        'sft/metrics.jsonl',
        'sft/samples.jsonl',
        'policy/metrics.jsonl',
    ],
)
def test_again_for_other_files(workdir, file):
    redrawn(workdir)
    (workdir / file).parent.mkdir(exist_ok=True)
    with (workdir / file).open('a') as out:
        out.write('{}\n')
    os.utime(workdir / file, (1, 1))  # a clock that was set back
    assert redrawn(workdir) and not redrawn(workdir)


@pytest.mark.parametrize('lost', ['.report.sha256', *MADE])
def test_again_where_it_is_gone(workdir, lost):
    redrawn(workdir)
    (workdir / lost).unlink()
    assert redrawn(workdir) and not redrawn(workdir)


@pytest.mark.parametrize('text', ['', 'who'])
@pytest.mark.parametrize('name', MADE)
def test_again_where_it_was_emptied_or_cut(workdir, name, text):
    redrawn(workdir)
    (workdir / name).write_text(text)
    assert redrawn(workdir) and not redrawn(workdir)
    assert (workdir / name).read_text() == 'whole'


def test_an_evaluation_has_its_own_files(workdir):
    drawing = drawn_from.evaluation('evaluation_val')
    jsonl.save(workdir / 'evaluation_val.json', {'a': 1})
    drawn = []

    def write(folder):
        drawn.append(1)
        (folder / 'evaluation_val').mkdir(exist_ok=True)
        (folder / drawing.page).write_text('page')

    for change in (lambda: 0, lambda: jsonl.save(workdir / 'results.json', {'b': 2})):
        change()
        drawn_from.redraw(workdir, write, drawing)
    assert len(drawn) == 1
    jsonl.save(workdir / 'evaluation_val.json', {'a': 2})
    drawn_from.redraw(workdir, write, drawing)
    assert len(drawn) == 2


def test_not_by_times(workdir):
    redrawn(workdir)
    for file in (workdir / 'results.json', workdir / 'report.md'):
        os.utime(file, (10**10, 10**10) if file.suffix == '.json' else (1, 1))
    assert not redrawn(workdir)


def test_again_after_a_start_that_ended_while_it_drew(workdir):
    redrawn(workdir)

    def write(folder):
        (folder / 'report.md').write_text('half')
        raise KeyboardInterrupt

    before = (workdir / 'results.json').read_text()
    jsonl.save(workdir / 'results.json', {})
    with pytest.raises(KeyboardInterrupt):
        drawn_from.redraw(workdir, write)
    (workdir / 'results.json').write_text(before)
    assert redrawn(workdir)
