"""The README's commands on files of one's own, and what its paths name."""

import functools
import importlib
import json
import os
import re

import pages
import pytest
from commands import ROOT, command


@pytest.fixture
def folder(tmp_path):
    """The working directory of somebody with preference pairs of their own."""
    rows = [
        {
            'prompt': f'What is {i} and {i}?',
            'chosen': f'It is {2 * i}.',
            'rejected': f'I think it may be {i}, or not.',
        }
        for i in range(200)
    ]
    text = ''.join(json.dumps(row) + '\n' for row in rows)
    (tmp_path / 'pairs.jsonl').write_text(text)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    return tmp_path


def test_own_pairs_train_a_reward_model(folder):
    """The commands on a person's own files, with a small model."""
    small = [
        *('--config.pretrain.steps=2', '--config.reward.steps=2'),
        *(
            '--config.model.width=16',
            '--config.model.layers=1',
            '--config.model.heads=2',
        ),
        *('--config.model.kv_heads=2', '--config.model.head_width=8'),
        *('--config.model.hidden=24', '--config.tokenizer.size=300'),
    ]
    (block,) = [x for x in pages.blocks('../README.md') if 'configs/files.py' in x.text]
    before = functools.partial(os.chdir, folder)
    checked, trained = (
        command(module, *args, *small, before=before)
        for module, *args in block.commands
    )
    assert checked.code == 0, checked.err
    assert trained.code == 0, trained.err
    assert 'merges' not in checked.out  # responses do not run into their prompts
    figures = json.loads((folder / 'runs' / 'pairs' / 'results.json').read_text())
    assert figures.keys() == {'pretrain', 'reward'}
    assert 0 <= figures['reward']['accuracy'] <= 1


def test_every_file_that_the_readme_names_is_there():
    text = (ROOT / 'README.md').read_text()
    linked = re.findall(r'\]\((?!http)([^)#]+)', text)
    named = re.findall(r'`((?:perl|scripts|configs|docs)/[\w/.]+)`', text)
    assert len(linked) > 10 and len(named) > 5
    for path in linked + named:
        assert (ROOT / path).exists(), path


def resolved(name):
    """The object of a dotted name below `perl`."""
    parts = name.split('.')
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module('.'.join(['perl', *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found, attribute)
        return found
    raise AttributeError(name)


def test_every_function_on_the_walks_of_the_design_is_there():
    text = (ROOT / 'docs' / 'design.md').read_text()
    walks = text[text.index('## The walk of a pref') : text.index('## Choices worth')]
    names = re.findall(r'`((?:[a-z]\w+\.)+\w+)`', walks)
    assert len(names) > 25
    for name in names:
        if not name.endswith(('.json', '.jsonl', '.py')):
            assert resolved(name.removeprefix('perl.')) is not None
