"""A model family of one's own: the blocks of `docs/adding_a_model_family.md`."""

import functools
import json
import os

import pages
import pytest
from commands import CONFIG, command

from perl.models import store

ROW, COMMANDS = pages.blocks('adding_a_model_family.md')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The run folder, and what the two commands of the page print; the quickstart is
    the small experiment of the tests."""
    folder = tmp_path_factory.mktemp('mine')
    (folder / ROW.title).write_text(ROW.text)
    (folder / 'configs').mkdir()
    (folder / 'configs' / 'quickstart.py').symlink_to(CONFIG)
    printed = []
    for module, *args in COMMANDS.commands:
        ended = command(module, *args, before=functools.partial(os.chdir, folder))
        assert ended.code == 0, ended
        printed.append(ended.out)
    return folder / 'runs' / 'biased', printed


def test_the_base_has_the_fields_of_the_row(trained):
    workdir, _ = trained
    arch, params = store.load(workdir / 'pretrain' / 'base')
    assert arch.qkv_bias and arch.norm_eps == 1e-6 and arch.rope_theta == 1e6
    attention = params['layers']['attention']
    for name in ('q_bias', 'k_bias', 'v_bias'):
        assert attention[name].any(), f'{name} has been trained'


def test_every_stage_trains_on_it(trained):
    workdir, (checked, _) = trained
    figures = json.loads((workdir / 'results.json').read_text())
    assert {'pretrain', 'sft', 'reward', 'policy'} <= figures.keys()

    assert 'pretrain: full: all' in checked
