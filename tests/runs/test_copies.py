"""Parts of a run are copied whole, and once."""

from perl.runs.copies import copy_parts


def test_parts_are_copied_whole_and_what_is_there_stays(tmp_path):
    source, run = tmp_path / 'source', tmp_path / 'run'
    for name in ('tokenizer/a.json', 'sft/adapter/x.json', 'sft/metrics.jsonl'):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (run / 'tokenizer').mkdir(parents=True)
    (run / 'tokenizer' / 'a.json').write_text('mine')
    torn = run / 'sft' / 'adapter.unfinished'
    torn.mkdir(parents=True)
    (torn / 'half').write_text('of an interrupted copy')
    for _ in range(2):
        copy_parts(source, run, ('tokenizer', 'sft/adapter'))
    files = {str(x.relative_to(run)) for x in run.rglob('*') if x.is_file()}
    assert files == {'tokenizer/a.json', 'sft/adapter/x.json'}
    assert (run / 'tokenizer' / 'a.json').read_text() == 'mine'
