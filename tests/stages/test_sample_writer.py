"""What a policy says while it is trained."""

import pytest
import runs

from perl.system import samples


def shown(folder):
    """The samples of steps, and those of the finished stage."""
    rows = samples.read(folder)
    ours = [row for row in rows if 'step' in row]
    return ours, [row for row in rows if 'step' not in row]


def test_sft_shows_samples_where_it_is_evaluated(finished):
    """`eval_every` is 3 of 6 steps; prompts are those of held-out demonstrations."""
    ours, final = shown(finished / 'sft')
    assert [row['step'] for row in ours] == [3] * 4 + [6] * 4 and not final
    assert len({row['prompt'] for row in ours}) == 4
    first, last = ours[:4], ours[4:]
    assert [row['prompt'] for row in first] == [row['prompt'] for row in last]
    assert [row['response'] for row in first] != [row['response'] for row in last]


def test_nothing_is_shown_where_nothing_is_evaluated(finished):
    ours, final = shown(finished / 'policy')
    assert not ours and len(final) == 8
    assert not samples.read(finished / 'reward')


BEFORE = ['pretrain', 'sft', 'reward']
CHANGES = {'policy.eval_every': 2, 'policy.save_every': 4}


@pytest.fixture(scope='module')
def whole(finished, tmp_path_factory):
    """A run whose policy shows samples while it is trained."""
    workdir = runs.copy(finished, tmp_path_factory.mktemp('whole') / 'run', BEFORE)
    runs.run(runs.config(**CHANGES), workdir)
    return workdir


@pytest.mark.parametrize('end', [2, 5])
def test_a_policy_that_is_killed_shows_the_same(whole, finished, tmp_path, end):
    killed = runs.copy(finished, tmp_path / 'killed', BEFORE)
    with pytest.raises(runs.Killed), runs.dying('policy', end, runs.killed):
        runs.run(runs.config(**CHANGES), killed)
    runs.run(runs.config(**CHANGES), killed)
    ours, final = shown(whole / 'policy')
    assert [row['step'] for row in ours] == [2] * 4 + [4] * 4 + [6] * 4
    assert len(final) == 8
    assert samples.read(killed / 'policy') == samples.read(whole / 'policy')
    runs.assert_same(killed, finished, 'policy')


def test_samples_are_in_the_report(finished):
    report = (finished / 'report.md').read_text()
    assert 'Samples of policy' in report and 'Samples of sft' in report
