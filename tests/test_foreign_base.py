"""A run on a base of another project, from the check to a resume."""

import json
import shutil

import foreign
import numpy as np
import pytest
import runs
import tokenizer_files
from commands import launch

from perl import check
from perl.models import files
from perl.runs import opening
from perl.system.errors import UserError

STAGES = ('sft', 'reward')
LENGTHS = {'lengths.prompt': 48, 'lengths.response': 40}


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """A tiny Llama with its tokenizer."""
    made = tokenizer_files.byte_level(add_prefix_space=False)
    size = made.get_vocab_size(True)
    config = {**foreign.CONFIG, 'vocab_size': size + 6, 'max_position_embeddings': 128}
    folder = foreign.write(tmp_path_factory.mktemp('foreign') / 'base', config=config)
    (folder / 'tokenizer.json').write_text(made.to_str())
    said = {'eos_token': '</s>', 'bos_token': '<s>', 'pad_token': '<pad>'}
    (folder / 'tokenizer_config.json').write_text(json.dumps(said))
    return folder


def config(base, **changes):
    given = {'model.path': str(base), 'stages': STAGES, 'reward.start': 'sft'}
    return runs.config(**{**given, **LENGTHS, **changes})


def test_the_check_finds_everything_by_itself(base, tmp_path):
    found = check.check(config(base), tmp_path / 'run')
    assert found['vocabulary']['padding'] == 6
    assert found['stages'].keys() == {*STAGES}
    assert not (tmp_path / 'run').exists()


def test_a_run_and_its_tokenizer(base, tmp_path):
    figures = runs.run(config(base), tmp_path)
    assert figures['reward']['steps'] == 6
    run = opening.open_finished(tmp_path)
    assert (run.arch.width, run.arch.layers) == (16, 2)
    assert run.tokenizer.encode('ß') == run.tokenizer.encode('ß', start=True)
    np.testing.assert_array_equal(
        run.base['embed'],
        files.open_checkpoint(base).tensors['model.embed_tokens.weight'].read(),
    )
    ended = launch(
        tmp_path,
        f'--config.model.path={base}',
        '--config.stages=("sft","reward")',
        *(f'--config.{name}={x}' for name, x in LENGTHS.items()),
    )
    assert ended.code == 0, ended


@pytest.mark.parametrize('what', ['weights', 'rotation'])
def test_another_base_in_the_middle_of_a_run(base, tmp_path, what):
    own = shutil.copytree(base, tmp_path / 'base')
    runs.run(config(own), tmp_path / 'run', ['sft'])
    said = json.loads((base / 'config.json').read_text())
    arrays = foreign.arrays(said, seed=int(what == 'weights'))
    if what == 'rotation':
        said['rope_theta'] = 5e5
    foreign.write(own, arrays, said)
    with pytest.raises(UserError, match='was trained on the base'):
        runs.run(config(own), tmp_path / 'run', STAGES)


@pytest.mark.parametrize('kind', ['file', 'sentencepiece'])
def test_no_tokenizer_to_be_found(tmp_path, kind):
    """One that is made of the run's own texts would be no tokenizer of the base."""
    bare = foreign.write(tmp_path / 'bare')
    wanted = {'tokenizer.kind': kind}
    with pytest.raises(UserError, match=r'the base .* brings no tokenizer; give its'):
        check.check(config(bare, **wanted), tmp_path / 'run')


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda x: (x / 'config.json').unlink(), 'model.json is not there'),
        (lambda x: (x / 'model.safetensors').unlink(), 'has neither model'),
        (lambda x: (x / 'config.json').write_text('{'), 'is not a JSON object'),
        (lambda x: (x / 'model.safetensors').write_bytes(b'x' * 99), 'is damaged or'),
    ],
)
def test_one_line_of_an_error(base, tmp_path, change, said):
    folder = shutil.copytree(base, tmp_path / 'base')
    change(folder)
    flags = (f'--config.model.path={folder}', '--config.stages=("sft",)', '--check')
    ended = launch(tmp_path / 'run', *flags)
    assert said in ended.error
