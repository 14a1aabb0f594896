"""`perl.label`: pairs in, comparisons with preferences out; resumes after a kill."""

import collections
import concurrent.futures
import functools
import json
import signal
import threading

import chat
import numpy as np
import pages
import pytest
import runs
from chat import Reply
from commands import CONFIG, command, strike, unplug

from perl import data
from perl.evaluation.labelled_pairs import beside
from perl.runs.judging import Settings, open_judge
from perl.runs.opening import open_finished

PAIRS = [
    {'prompt': f'question {i}', 'chosen': 'x' * (1 + i % 5), 'rejected': 'yyy'}
    for i in range(20)
]


@pytest.fixture
def pairs(tmp_path):
    """A file of comparisons."""
    file = tmp_path / 'pairs.jsonl'
    file.write_text(''.join(json.dumps(row) + '\n' for row in PAIRS))
    return file


@pytest.fixture(scope='module')
def workdir(finished, tmp_path_factory):
    """A finished run, only to be read."""
    return runs.clone(finished, tmp_path_factory.mktemp('label') / 'run')


def label(output, *args, before=None):
    return command('perl.label', f'--output={output}', *args, before=before)


def said(output, *args, before=None):
    """The rows and the summary of a command that went well."""
    ended = label(output, *args, before=before)
    assert ended.code == 0 and ended.err == '', ended
    return read(output)


def read(output):
    summary = output.with_name(output.name.replace('.jsonl', '.summary.json'))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    return rows, json.loads(summary.read_text())


def by_endpoint(server, *args):
    return (
        '--labeller=endpoint',
        f'--url={server.url}',
        '--model=m',
        '--template=brief',
        *args,
    )


def test_endpoint(pairs, tmp_path):
    output = tmp_path / 'labels.jsonl'
    with chat.serve(chat.longer) as server:
        args = by_endpoint(server, f'--comparisons={pairs}')
        rows, summary = said(output, *args)
        assert len(server.requests) == 2 * len(PAIRS)
        again, cached = said(output, *args)
        assert len(server.requests) == 2 * len(PAIRS), 'all is known by now'
    assert again == rows and (summary['cached'], cached['cached']) == (0, 40)
    assert cached == summary | {'cached': 40}, 'it counts both sittings'
    for row, pair in zip(rows, PAIRS, strict=True):
        length = len(pair['chosen'])
        turned = length < 3
        assert row == {
            'prompt': pair['prompt'],
            'chosen': pair['rejected' if turned else 'chosen'],
            'rejected': pair['chosen' if turned else 'rejected'],
            # it names the second place where both are as long: that is no preference
            'preference': 0.5 if length == 3 else 1.0,
        }
    want = {'n': 20, 'labelled': 20, 'unlabelled': 0, 'ties': 4, 'agreement': 0.5}
    assert want.items() <= summary.items()
    assert summary['position_bias'] == 0.2 and summary['confidence'] == 0.9
    low, high = summary['agreement_ci95']
    assert 0.2 < low < 0.5 < high < 0.8
    source = {'path': {'train': str(output)}}
    read_back = data.load('files', comparisons=source).comparisons['train']
    assert [row.preference for row in read_back] == [row['preference'] for row in rows]


@pytest.mark.parametrize(
    'where', ['perl.judges.language.answers:Answers.put', 'os.fsync']
)
def test_killed_and_resumed(pairs, tmp_path, where):
    """What was answered before kill -9 is not asked again: the server counts."""
    output, answers = tmp_path / 'labels.jsonl', tmp_path / 'labels.answers.jsonl'
    with chat.serve(chat.longer) as server:
        args = by_endpoint(server, f'--comparisons={pairs}', '--concurrency=4')
        kill = functools.partial(strike, where, 11)
        ended = label(output, *args, before=kill)
        assert ended.code == -signal.SIGKILL and not output.exists()
        kept = {json.loads(line)['key'] for line in answers.read_text().splitlines()}
        assert 11 - 4 <= len(kept) < 20  # four were being written
        first = len(server.requests)
        with answers.open('a') as out:
            out.write('{"key": "half a li')
        rows, summary = said(output, *args)
    asked = collections.Counter(server.questions)
    assert summary['cached'] == len(kept)
    assert len(server.requests) - first == 40 - len(kept)
    assert summary['requests'] == 40, 'those of both sittings'
    once = {json.loads(line)['key'] for line in answers.read_text().splitlines()}
    assert len(once) == len(asked) == 40
    assert sum(asked.values()) <= 40 + 4, 'only those on their way are asked twice'
    assert len(rows) == 20


def test_a_second_process_on_one_output_is_refused(pairs, tmp_path):
    """The first is held in the middle of its questions; what it wrote stays whole."""
    output, release = tmp_path / 'labels.jsonl', threading.Event()
    held = threading.Event()

    def answer(body, number):
        held.set()
        release.wait(60)
        return chat.longer(body)

    with chat.serve(answer) as server:
        args = by_endpoint(server, f'--comparisons={pairs}')
        with concurrent.futures.ThreadPoolExecutor() as threads:
            first = threads.submit(said, output, *args)
            assert held.wait(60)
            for _ in range(2):
                error = label(output, *args).error
                assert f'{output} is being written by another process' in error
            release.set()
            rows, summary = first.result()
    assert len(rows) == 20 and summary['requests'] == 40
    answers = beside(output, 'answers.jsonl').read_text().splitlines()
    kept = [json.loads(line)['key'] for line in answers]
    assert len(kept) == len(set(kept)) == 40
    assert not list(tmp_path.glob('.*'))


def test_the_summary_counts_all_sittings(pairs, tmp_path):
    """Two sittings on a part of the pairs each, with nonsense and a retry in the
    first."""

    def answer(body, number):
        if 'question 0\n' in body['messages'][0]['content']:
            return Reply('I cannot say.')
        return Reply('busy', 429) if number == 5 else chat.longer(body)

    output = tmp_path / 'labels.jsonl'
    with chat.serve(answer) as server:
        args = by_endpoint(server, f'--comparisons={pairs}', '--concurrency=1')
        _, first = said(output, *args, '--limit=4')
        _, both = said(output, *args)
    assert (first['unparsable'], first['retries']) == (6, 1)
    assert (both['unparsable'], both['retries'], both['cached']) == (6, 1, 12)
    assert both['requests'] == len(server.requests) == 40 + 4 + 1
    assert both['labelled'] == 19


def test_nonsense_is_reported_and_left_out(pairs, tmp_path):
    def answer(body, number):
        if 'question 7\n' in body['messages'][0]['content']:
            return Reply('Both are lovely.')
        return chat.longer(body)

    output = tmp_path / 'labels.jsonl'
    with chat.serve(answer) as server:
        ended = label(output, *by_endpoint(server, f'--comparisons={pairs}'))
    rows, summary = read(output)
    assert len(rows) == 19 and 'question 7' not in {row['prompt'] for row in rows}
    assert (summary['unlabelled'], summary['unparsable']) == (1, 6)
    assert '19 of 20 labelled' in ended.out and 'unparsable 6' in ended.out


def test_recorded_answers_replay_an_endpoint_offline(pairs, tmp_path):
    live, replayed = tmp_path / 'live.jsonl', tmp_path / 'replayed.jsonl'
    with chat.serve(chat.longer) as server:
        rows, _ = said(live, *by_endpoint(server, f'--comparisons={pairs}'))
    again, summary = said(
        replayed,
        f'--comparisons={pairs}',
        '--labeller=recorded',
        f'--file={tmp_path / "live.answers.jsonl"}',
        before=unplug,
    )
    assert again == rows and summary['position_bias'] == 0.2


def test_columns_and_limit(tmp_path):
    table = tmp_path / 'a.csv'
    table.write_text('question,good,bad\nq1,a,bb\nq2,cc,d\nq3,e,ff\n')
    recorded = tmp_path / 'r.jsonl'
    verdicts = [
        {'prompt': 'q1', 'first': 'a', 'second': 'bb', 'verdict': 2},
        {'prompt': 'q2', 'first': 'd', 'second': 'cc', 'preference': 0.125},
    ]
    recorded.write_text(''.join(json.dumps(row) + '\n' for row in verdicts))
    args = (
        f'--comparisons={table}',
        '--columns=prompt=question,chosen=good,rejected=bad',
        '--labeller=recorded',
        f'--file={recorded}',
    )
    rows, _ = said(tmp_path / 'l.jsonl', *args, '--limit=2')
    assert [(row['chosen'], row['preference']) for row in rows] == [
        ('bb', 1.0),
        ('cc', 0.875),
    ]
    error = label(tmp_path / 'l.jsonl', *args).error
    assert '2 of 6 pairs are not in it' in error, 'each pair is asked both ways'


def test_annotators_on_a_config(tmp_path):
    args = (f'--config={CONFIG}', '--labeller=annotators', '--split=train')
    output = tmp_path / 'labels.jsonl'
    rows, summary = said(output, *args, before=unplug)
    assert len(rows) == summary['n'] == 64
    assert 0.5 < summary['gold_agreement'] < 1, 'a quarter of the labels flips'
    assert 'would change or drop' in label(output, *args, '--flip=0').error
    assert read(output) == (rows, summary)
    output = tmp_path / 'sure.jsonl'
    sure, without = said(output, *args, '--flip=0', before=unplug)
    output = tmp_path / 'other.jsonl'
    assert without['gold_agreement'] > summary['gold_agreement']
    other, _ = said(output, *args, '--seed=1', before=unplug)
    assert rows != other and rows != sure


@pytest.fixture
def template(tmp_path):
    """A question for a window of 64 tokens."""
    file = tmp_path / 'short.txt'
    file.write_text('{prompt}{first}\n{second}\n')
    return file


def model_args(workdir, template, *args):
    who = ('--labeller=model', f'--template={template}')
    return (f'--workdir={workdir}', *who, *args)


def test_model_on_its_run(workdir, template, tmp_path):
    output = tmp_path / 'labels.jsonl'
    args = model_args(workdir, template, '--split=test')
    rows, summary = said(output, *args, '--model=sft', before=unplug)
    # some pairs are too long for the window, which is said
    assert 0 < summary['labelled'] == len(rows) < summary['n'] == 12
    assert summary['too_long'] == 2 * summary['unlabelled']
    assert summary['gold_agreement'] is not None
    assert all(0.5 <= row['preference'] < 1 for row in rows)
    answers = tmp_path / 'labels.answers.jsonl'
    known = answers.read_bytes()
    again, counts = said(output, *args, '--model=sft', before=unplug)
    assert again == rows and answers.read_bytes() == known, 'not asked again'
    assert counts == summary, 'those without room are counted again'
    base, _ = said(tmp_path / 'base.jsonl', *args, before=unplug)
    assert [r['preference'] for r in base] != [r['preference'] for r in rows]


def sampling(workdir, *args):
    where = (f'--workdir={workdir}', '--sample', '--labeller=annotators', *args)
    return (*where, '--temperature=2.0')


def test_samples_of_a_policy(workdir, tmp_path):
    """RLAIF's whole loop, killed between two batches and resumed to the same end."""
    whole, broken = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl'
    rows, summary = said(whole, *sampling(workdir), before=unplug)
    assert summary['n'] == len(rows) > 16
    prompts = open_finished(workdir).dataset.prompts['train']
    assert {row['prompt'] for row in rows} <= set(prompts)
    kill = functools.partial(strike, 'perl.system.jsonl.append', 2)
    ended = label(broken, *sampling(workdir), before=kill)
    assert ended.code == -signal.SIGKILL
    kept = tmp_path / 'b.pairs.jsonl'
    assert len(kept.read_text().splitlines()) == 1 + 16
    kept.write_text('\n'.join(kept.read_text().splitlines()[:-3]) + '\n{"prom')
    again, _ = said(broken, *sampling(workdir), before=unplug)
    assert again == rows
    assert kept.read_bytes() == (tmp_path / 'a.pairs.jsonl').read_bytes()
    more = sampling(workdir, '--seed=1')
    assert (
        'was sampled with other settings (seed: was 0, is 1)'
        in label(broken, *more).error
    )


def test_loop_by_the_model_itself(workdir, template, tmp_path):
    args = model_args(workdir, template, '--sample', '--limit=8', '--temperature=2.0')
    rows, summary = said(tmp_path / 'a.jsonl', *args)
    assert 0 < len(rows) == summary['labelled'] <= 8


def test_prompts_that_were_cut_are_counted(workdir):
    """The window of the small run holds 64 tokens."""
    run = open_finished(workdir)
    judge = open_judge('model', run, Settings('brief', model='base'))
    chances = judge.preference(['a table ' * 60], ['one'], ['two'])
    assert 0 < chances[0] < 1 and judge.report()['prompts_cut'] == 1


ENDPOINT = ('--labeller=endpoint', '--url=http://127.0.0.1:9/v1', '--model=m')


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (ENDPOINT, 'give --comparisons, --config, or --workdir'),
        ((*ENDPOINT, '--sample'), 'give --comparisons, --config, or --workdir'),
        ((*ENDPOINT, '--comparisons=PAIRS'), 'no server answers there'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--sample'), 'give one of'),
        ((*ENDPOINT, '--comparisons=nowhere.jsonl'), 'no file nowhere.jsonl'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--columns=prompt'), 'write field=column'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--columns=pront=p'), "mean 'prompt'"),
        ((*ENDPOINT, '--comparisons=PAIRS', '--extra=[1]'), 'is not a JSON object'),
        ((*ENDPOINT, '--comparisons=PAIRS', f'--extra={"[" * 9**5}'), 'is not a JSON'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--timeout=nan'), '--timeout: nan must be'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--timeout=inf'), '--timeout: inf must be'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--temperature=nan'), '--temperature: nan'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--flip=nan'), '--flip: nan must be'),
        ((*ENDPOINT, '--comparisons=PAIRS', f'--seed={2**32}'), '--seed=4294967296'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--url=ftp://joe:pw@h'), "'ftp://h'"),
        ((*ENDPOINT, '--comparisons=PAIRS', '--key_env=sk-12'), 'not the key itself'),
        (('--labeller=nowhere:f', '--comparisons=PAIRS'), 'there is no module nowhere'),
        (('--labeller=gold', '--comparisons=PAIRS'), 'give a run folder'),
        ((*ENDPOINT, '--comparisons=PAIRS', '--template=genric'), "mean 'generic'"),
        ((*ENDPOINT, '--comparisons=PAIRS', '--key_env=UNSET_X'), 'UNSET_X'),
        (('--labeller=endpoint', '--comparisons=PAIRS'), 'needs its address'),
        (('--labeller=recorded', '--comparisons=PAIRS'), 'need the file'),
        (('--labeller=model', '--comparisons=PAIRS'), 'needs the run folder'),
        (('--labeller=annotators', '--comparisons=PAIRS'), 'not a request to the'),
        (('--labeller=robot', '--comparisons=PAIRS'), 'robot'),
        (('--labeller=annotators', '--workdir=nowhere'), 'config.json is not there'),
        (('--comparisons=PAIRS',), 'labeller'),
    ],
)
def test_errors(pairs, tmp_path, args, words):
    args = [arg.replace('PAIRS', str(pairs)) for arg in args]
    output = tmp_path / 'out' / 'labels.jsonl'
    assert words in label(output, *args).error
    assert not output.parent.exists()


@pytest.mark.parametrize(
    'args',
    [
        ('--comparisons=PAIRS', *ENDPOINT),
        ('--comparisons=nowhere', '--labeller=recorded', '--file=PAIRS'),
    ],
)
def test_what_is_read_is_not_written_over(pairs, args):
    before = pairs.read_bytes()
    args = [arg.replace('PAIRS', str(pairs)) for arg in args]
    output = pairs.parent / '..' / pairs.parent.name / pairs.name
    assert 'is an input file; name another file' in label(output, *args).error
    assert pairs.read_bytes() == before


@pytest.mark.parametrize('where', ['', '*.jsonl'])
def test_labels_among_what_is_read(workdir, pairs, where):
    """A folder or a pattern that has the output: not read again and doubled."""
    flags = ('--labeller=reward', f'--workdir={workdir}')
    flags += (f'--comparisons={pairs.parent / where}',)
    before, output = pairs.read_bytes(), pairs.parent / 'labels.jsonl'
    assert 'is not from perl.label' in label(pairs, *flags).error
    assert len(said(output, *flags)[0]) == len(PAIRS)
    assert 'is an input file' in label(output, *flags).error
    assert len(read(output)[0]) == len(PAIRS) and pairs.read_bytes() == before


def test_the_data_of_a_config_are_not_written_over(workdir, tmp_path):
    folder = runs.write_tables(tmp_path / 'data')
    output = folder / 'comparisons.jsonl'
    before = output.read_bytes()
    flags = ('--labeller=reward', f'--workdir={workdir}')
    said = label(output, *flags, f'--config={CONFIG}:files={folder}').error
    assert f'--output: {output} exists and is not from perl.label' in said
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (('--adapter=sfft', '--sample'), 'sfft'),
        (('--adapter=reward', '--sample'), 'reward: it makes a reward model'),
        (('--model=sfft', '--labeller=model'), 'sfft'),
        (('--labeller=model', '--limit=2'), 'too long, use a shorter --template'),
    ],
)
def test_errors_on_a_run(workdir, tmp_path, args, words):
    args = ('--labeller=annotators', f'--workdir={workdir}', *args)
    assert words in label(tmp_path / 'a.jsonl', *args).error


def test_a_server_that_gives_no_verdicts(pairs, tmp_path):
    with chat.serve(lambda *_: Reply('I will not choose.')) as server:
        args = by_endpoint(server, f'--comparisons={pairs}', '--limit=2')
        ended = label(tmp_path / 'a.jsonl', *args)
    assert 'endpoint: gave no verdict on any pair' in ended.err and ended.code == 1


def test_help():
    ended = command('perl.label', '--help')
    assert '--labeller' in ended.out + ended.err


def test_labels_do_not_depend_on_the_place_of_the_better(workdir):
    """By hand over the function: exchanging the completions exchanges the label."""
    run = open_finished(workdir)
    ask = open_judge('annotators', settings=Settings(flip=0.0)).preference
    rows = run.dataset.comparisons['test']
    first, second = zip(*(row.completions for row in rows), strict=True)
    prompts = [row.prompt for row in rows]
    np.testing.assert_array_equal(
        ask(prompts, first, second), 1 - ask(prompts, second, first)
    )


@pytest.mark.parametrize('name', ['reward', 'gold'])
def test_any_judge_labels(workdir, tmp_path, name):
    args = (f'--workdir={workdir}', '--split=test', f'--labeller={name}')
    rows, summary = said(tmp_path / 'a.jsonl', *args, before=unplug)
    assert summary['labelled'] == len(rows) == 12 and summary['position_bias'] == 0
    assert {row['preference'] for row in rows} <= {0.5, 1.0}
    if name == 'gold':
        assert summary['gold_agreement'] == 1


def test_the_page_replays_only_answers_that_an_earlier_command_leaves():
    left = set()
    for block in pages.blocks('feedback.md'):
        for arguments in block.commands:
            values = dict(x[2:].split('=', 1) for x in arguments if '=' in x)
            if values.get('labeller') == 'recorded':
                assert values['file'] in left
            if values.get('labeller') in ('model', 'endpoint'):
                left.add(values['output'].replace('.jsonl', '.answers.jsonl'))
            if 'judge' in values and values['judge'] != 'annotators':
                left.add(f'{values["workdir"]}/judge.jsonl')
            if values.get('judge') == 'recorded':
                assert values['judge_file'] in left
    assert len(left) > 2
