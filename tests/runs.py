"""Runs the experiment in `small.py` in this process; copies and compares folders."""

import contextlib
import json
import pathlib
import shutil
from unittest import mock

from commands import CONFIG
from small import DATA

from perl import data, train
from perl.system import metrics


def config(arg='', **changes):
    """The config of the small experiment; `changes` by path: `{'sft.steps': 3}`."""
    loaded = train.load_config(f'{CONFIG}:{arg}').unlock()
    loaded.update_from_flattened_dict(changes)
    return loaded.lock()


def run(config, workdir, stages=None):
    """Trains in this process, without the report, which is slow."""
    with mock.patch.object(train.report, 'write'):
        return train.run(config, workdir, stages).figures


class Killed(BaseException):
    """Ends a run in this process like a kill: no code catches this exception."""


@contextlib.contextmanager
def dying(stage, step, end):
    """A context that calls `end()` after the line of a step is written."""
    write = metrics.Metrics.write

    def writing(self, at, figures):
        write(self, at, figures)
        if self._file.parent.name == stage and at == step:
            end()

    with mock.patch.object(metrics.Metrics, 'write', writing):
        yield


def killed():
    """Ends the run at once."""
    raise Killed


def copy(finished, workdir, stages, config=False):
    """Makes a run folder in which only these stages are finished.

    It has no config, so that a test can use another one.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    for part in ('tokenizer', *stages) if stages else ():
        shutil.copytree(finished / part, workdir / part)
    figures = json.loads((finished / 'results.json').read_text())
    kept = {name: row for name, row in figures.items() if name in stages}
    (workdir / 'results.json').write_text(json.dumps(kept))
    if config:
        shutil.copy(finished / 'config.json', workdir)
    return workdir


def rows(folder):
    """The metrics of a stage without those of time."""
    return [
        {name: x for name, x in row.items() if 'second' not in name}
        for row in metrics.read(folder)
    ]


def files(folder):
    """{path: bytes} of all files in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def trained(folder):
    """{path: bytes} of a stage's adapters or base."""
    kinds = ('adapter/', 'value/', 'base/', 'best/')
    return {k: x for k, x in files(folder).items() if k.startswith(kinds)}


def assert_same(workdir, finished, stage):
    """Asserts that a stage of two runs is equal, bit by bit."""
    assert rows(workdir / stage) == rows(finished / stage)
    assert trained(workdir / stage) and trained(workdir / stage) == trained(
        finished / stage
    )


def results(workdir):
    """The figures of the finished stages."""
    return json.loads((workdir / 'results.json').read_text())


def clone(workdir, to):
    """A copy of the whole folder, for a test to damage, without the locks of commands
    that look into it at this moment."""
    locks = shutil.ignore_patterns('.*.lock')
    return pathlib.Path(shutil.copytree(workdir, to, ignore=locks))


def weights(folder):
    """The bytes of an adapter's file."""
    return (folder / 'adapter.safetensors').read_bytes()


def write_tables(folder):
    """A folder with the booking desk's train records as files of JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    made = data.load(**DATA)
    said = {
        'text': [{'text': text} for text in made.text['train']],
        'demonstrations': [
            {'prompt': x.prompt, 'response': x.response}
            for x in made.demonstrations['train']
        ],
        'comparisons': [
            {
                'prompt': x.prompt,
                'chosen': x.completions[0],
                'rejected': x.completions[1],
            }
            for x in made.comparisons['train']
        ],
        'ratings': [
            {'prompt': x.prompt, 'response': text, 'label': 1.0 - place}
            for x in made.comparisons['train']
            for place, text in enumerate(x.completions)
        ],
        'prompts': [{'prompt': text} for text in made.prompts['train']],
    }
    for kind, rows in said.items():
        text = ''.join(json.dumps(row) + '\n' for row in rows)
        (folder / f'{kind}.jsonl').write_text(text)
    return folder
