"""The configs of "Your own data" in `docs/datasets.md`, as they stand."""

import csv
import json

import pages
import pyarrow
import pytest
import runs
from pyarrow import parquet

from perl import config as configs
from perl.check import check

BLOCKS = {block.title: block.text for block in pages.blocks('datasets.md')}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory of somebody with the files that the page tells of."""
    rows = [
        {'question': f'why {i}?', 'answer': 'so', 'chosen': f'so {i}', 'rejected': 'no'}
        for i in range(60)
    ]
    lines = (json.dumps(row) + '\n' for row in rows)
    (tmp_path / 'sft.jsonl').write_text(''.join(lines))
    with (tmp_path / 'pairs.csv').open('w', newline='') as file:
        writer = csv.DictWriter(
            file, ['question', 'chosen', 'rejected'], None, 'ignore'
        )
        writer.writeheader()
        writer.writerows(rows)
    with (tmp_path / 'rankings.jsonl').open('w') as file:
        for row in rows:
            pair = {name: row[name] for name in ('chosen', 'rejected')}
            line = {'prompt': row['question'], **pair, 'preference': 0.9}
            print(json.dumps(line), file=file)
    (tmp_path / 'train').mkdir()
    for place, name in enumerate(('train/1', 'train/2', 'val', 'test')):
        made = [
            {'prompt': f'p{place} {i}', 'response': f'r{place} {i}', 'score': i % 2,
             'dialog': 100 * place + i} for i in range(10)
        ]  # fmt: skip
        parquet.write_table(
            pyarrow.Table.from_pylist(made), tmp_path / f'{name}.parquet'
        )
    with (tmp_path / 'test.tsv').open('w') as file:
        for row in (made[0], *(row.values() for row in made)):
            print(*row, sep='\t', file=file)
    monkeypatch.chdir(tmp_path)
    for name, text in BLOCKS.items():
        if name.endswith('.py'):
            (tmp_path / name).write_text(text)
    return tmp_path


def small(name, **changes):
    """The config of a block, with a model of no size."""
    config = configs.load_config(name).unlock()
    config.model.update(width=16, layers=1, heads=2, kv_heads=2, head_width=8)
    config.model.update(hidden=32, max_length=256)
    config.update_from_flattened_dict(changes)
    return config.lock()


def examples(found, stage):
    return [row['examples'] for row in found['data'][stage].values()]


def test_all_stages(folder):
    found = check(small('my_stages.py', **{'tokenizer.kind': 'bytes'}), 'run')
    assert found['dropped'] == {}
    assert sum(examples(found, 'sft')) == sum(examples(found, 'reward')) == 60
    assert all(examples(found, 'policy'))


def test_one_stage_on_a_base(folder, finished):
    (folder / 'base').symlink_to(finished / 'pretrain' / 'base')
    found = check(small('my_reward.py', **{'lengths.prompt': 32}), 'run')
    assert found['dropped'] == {'preferences_read': 60}
    assert sum(examples(found, 'reward')) == 60 and set(found['data']) == {'reward'}


def test_ratings(folder):
    config = small('my_ratings.py', **{'tokenizer.kind': 'bytes'})
    found = check(config, 'run')
    assert examples(found, 'reward') == [20, 10, 10]
    changes = {f'{stage}.steps': 1 for stage in config.stages}
    changes |= {f'{stage}.batch_size': 4 for stage in config.stages}
    figures = runs.run(
        small('my_ratings.py', **{'tokenizer.kind': 'bytes'}, **changes), folder / 'run'
    )
    assert figures['reward']['steps'] == 1
