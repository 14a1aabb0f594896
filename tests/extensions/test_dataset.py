"""A dataset of one's own: the blocks of `docs/adding_a_dataset.md`, as they stand."""

import functools
import os

import pages
import pytest
import runs
from commands import command

ROWS, READER, CONFIG, COMMANDS = pages.blocks('adding_a_dataset.md')


@pytest.fixture
def folder(tmp_path):
    """The working directory of somebody who adds a dataset."""
    for block in (ROWS, READER, CONFIG):
        (tmp_path / block.title).write_text(block.text)
    return tmp_path


def test_it_is_checked_and_trained(folder):
    before = functools.partial(os.chdir, folder)
    checked, trained = (
        command(module, *args, before=before) for module, *args in COMMANDS.commands
    )
    assert checked.code == 0 and checked.err == '', checked
    # a topic of two splits stays in the more held-out one: four records of a row
    assert 'data: leaks_dropped: 4' in checked.out
    assert trained.code == 0, trained
    figures = runs.results(folder / 'runs' / 'votes')
    assert set(figures) == {'pretrain', 'sft', 'reward'}
    assert figures['reward']['steps'] == 1 and 0 <= figures['reward']['accuracy'] <= 1


def test_an_option_reaches_the_reader(folder):
    args = COMMANDS.commands[0][1:]
    before = functools.partial(os.chdir, folder)
    ended = command('perl.train', *args, '--config.data.min_votes=99', before=before)
    assert 'pretrain: votes has no text in its train split' in ended.error
    wrong = command('perl.train', *args, '--config.data.path=none.jsonl', before=before)
    assert 'there is no file none.jsonl' in wrong.error
