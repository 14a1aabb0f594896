import pytest

from perl.checkpoint.steps import Steps


@pytest.fixture
def steps(tmp_path):
    steps = Steps(tmp_path / 'stage' / 'checkpoints')
    steps.prepare()
    return steps


def finish(steps, number, text=''):
    steps.unfinished(number).mkdir()
    (steps.unfinished(number) / 'file').write_text(text)
    steps.finish(number)


def test_a_folder_that_does_not_exist_has_no_steps(tmp_path):
    none = Steps(tmp_path / 'no')
    assert none.finished() == [] and none.last() is None
    none.clean()
    assert not none.folder.exists()


def test_a_step_is_there_when_it_is_finished(steps):
    steps.unfinished(3).mkdir()
    assert steps.finished() == [] and steps.last() is None
    steps.finish(3)
    assert steps.finished() == [3] and steps.last() == 3
    assert not steps.unfinished(3).exists()


def test_a_step_takes_the_place_of_one_that_was_skipped(steps):
    finish(steps, 3, 'damaged')
    finish(steps, 3, 'whole')
    assert (steps.at(3) / 'file').read_text() == 'whole'
    assert steps.finished() == [3]


def test_damaged_steps_do_not_count_as_the_newest(steps):
    for number in (2, 4, 10, 12):
        finish(steps, number)
    steps.retain(2, damaged={12})
    assert sorted(steps.finished()) == [4, 10]
    assert sorted(path.name for path in steps.folder.iterdir()) == ['10', '4']
    assert steps.last() == 12


def test_remains_are_removed_and_finished_steps_stay(steps):
    finish(steps, 2)
    steps.unfinished(4).mkdir()
    finish(steps, 6)
    steps.remove(6)
    steps.clean()
    assert [path.name for path in steps.folder.iterdir()] == ['2']
