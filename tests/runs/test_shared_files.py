"""The config and the tokenizer of a run are removed or exchanged while it trains."""

import json
import shutil
from types import SimpleNamespace

import pytest
import runs

from perl.data.tokenizers import Bytes
from perl.data.tokenizers.files import load
from perl.runs import saved_config, shared_files
from perl.system.errors import UserError


@pytest.fixture
def run(tmp_path, capsys):
    run = SimpleNamespace(config=runs.config(), workdir=tmp_path, tokenizer=Bytes())
    saved_config.write(run.config, tmp_path)
    run.tokenizer.save(tmp_path / 'tokenizer')
    shared_files.check(run, 'sft')
    assert not capsys.readouterr().out
    return run


def test_what_was_removed_is_written_again_and_said(run, capsys):
    before = runs.files(run.workdir)
    (run.workdir / 'config.json').unlink()
    (run.workdir / 'sft').mkdir()
    (run.workdir / 'sft' / 'metrics.jsonl').write_text('{}\n')
    shutil.rmtree(run.workdir / 'tokenizer')
    shared_files.check(run, 'sft')
    said = capsys.readouterr().out.splitlines()
    assert [line.split(' was ')[0].rsplit('/')[-1] for line in said] == [
        'config.json',
        'tokenizer',
    ]
    assert before.items() <= runs.files(run.workdir).items()


@pytest.mark.parametrize(
    ('edit', 'says'),
    [
        (lambda x: x | {'seed': 7}, r'seed: was 7, is 0\); put the old one back'),
        (lambda x: {'name': 'other'}, 'put the old one back'),
    ],
)
def test_another_config_is_told_and_stays(run, edit, says):
    file = run.workdir / 'config.json'
    file.write_text(json.dumps(edit(json.loads(file.read_text()))))
    before = runs.files(run.workdir)
    with pytest.raises(UserError, match=says):
        shared_files.check(run, 'sft')
    assert runs.files(run.workdir) == before


@pytest.mark.parametrize('text', ['', '{}', '{"kind": "llama2c"}'])
def test_another_tokenizer_is_told_and_stays(run, text):
    (run.workdir / 'tokenizer' / 'tokenizer.meta.json').write_text(text)
    before = runs.files(run.workdir)
    with pytest.raises(UserError, match='tokenizer was changed while sft trained'):
        shared_files.check(run, 'sft')
    assert runs.files(run.workdir) == before


def test_a_tokenizer_that_was_removed_between_stages_comes_from_the_base(
    finished, tmp_path, capsys
):
    workdir = runs.copy(finished, tmp_path / 'run', ['pretrain'])
    own = load(workdir / 'tokenizer').fingerprint
    shared_files.restore_tokenizer(workdir)
    assert not capsys.readouterr().out
    shutil.rmtree(workdir / 'tokenizer')
    shared_files.restore_tokenizer(workdir)
    assert load(workdir / 'tokenizer').fingerprint == own
    (said,) = capsys.readouterr().out.splitlines()
    assert 'tokenizer was removed; it is written again, from' in said
