"""Reddit TL;DR: the template, the choice, splits by post, cuts at a newline."""

import pytest
from released import judged, post, tldr, write_lines

from perl import data
from perl.data.sets.tldr import SUP4
from perl.system.errors import UserError


def sizes(rows):
    return [len(rows[split]) for split in data.SPLITS]


def write(root, posts=(), comparisons=(), below=''):
    """Training posts and one file of comparisons."""
    for name, rows in (('train', posts), ('valid', ()), ('test', ())):
        write_lines(root / below / f'tldr_3_filtered/{name}.jsonl', rows)
    write_lines(root / 'comparisons/batch3.json', comparisons)
    return str(root)


def article(**changes):
    """A comparison on a CNN/DM article."""
    info = {'id': 'c1', 'site': 'cnn', 'title': 't', 'article': 'first\nsecond'}
    return judged(1, 'valid2', batch='cnndm0', **{'info': info, **changes})


def test_posts(tmp_path):
    made = data.load('tldr', root=write(tmp_path, [post(1, post=' a\nb ')], []))
    prompt = 'SUBREDDIT: r/pets\n\nTITLE: title 1\n\nPOST: a\nb\n\nTL;DR:'
    response = f' {post(1)["summary"]}'
    assert made.demonstrations['train'] == [data.Demonstration(prompt, response)]
    assert made.prompts['train'] == [prompt]
    assert made.text['train'] == [prompt + response]


def test_comparisons(tmp_path):
    rows = [judged(10), judged(11), judged(12, 'valid1'), judged(13, 'valid2')]
    made = data.load('tldr', root=write(tmp_path, [], rows))
    assert sizes(made.comparisons) == [2, 1, 1]
    for row, record in zip(rows, made.comparisons['train'], strict=False):
        chosen = row['summaries'][row['choice']]['text']
        assert record.completions[0] == chosen and chosen.startswith(' ')
        assert (record.margin, record.preference) == (0.0, 1.0)
        assert record.tags == (('batch', 'batch3'),)
    assert made.comparisons['train'][0].prompt.endswith('\n\nTL;DR:')


def test_folders_as_they_are_on_azure(tmp_path):
    root = write(tmp_path, [post(1)], [], below='datasets')
    (tmp_path / 'dataset').mkdir()
    (tmp_path / 'comparisons').rename(tmp_path / 'dataset/comparisons')
    assert sizes(data.load('tldr', root=root).prompts) == [1, 0, 0]


def test_unfiltered_summaries_are_never_read(tmp_path):
    write(tmp_path, [post(1)])
    (tmp_path / 'tldr_3_filtered').rename(tmp_path / 'tldr_3_filtered_queries')
    with pytest.raises(UserError, match=r'no .*tldr_3_filtered/train.jsonl'):
        data.load('tldr', root=str(tmp_path))


def test_a_post_is_held_out_everywhere(tmp_path):
    root = write(tmp_path, [post(1), post(2)], [judged(1, 'valid2'), judged(2)])
    made = data.load('tldr', root=root)
    assert sizes(made.comparisons) == [1, 0, 1]
    assert sizes(made.prompts) == sizes(made.demonstrations) == [1, 0, 0]
    assert made.counts['leaks_dropped'] == 3


@pytest.mark.parametrize(
    ('text', 'kept'),
    [
        ('aa\nbb\ncc', 'aa\nbb'),
        ('aaa\nbbbb', 'aaa'),
        ('aaaaaaaa', 'aaaaaa'),
        ('aa\nbb', 'aa\nbb'),
    ],
)
def test_long_posts_are_cut_at_a_newline(tmp_path, text, kept):
    root = write(tmp_path, [post(1, post=text)])
    made = data.load('tldr', root=root, post_chars=6)
    assert f'POST: {kept}\n\nTL;DR:' in made.prompts['train'][0]
    lost = len(text) - len(kept)
    assert made.counts['posts_cut'] == (lost > 0)
    assert made.counts['post_characters_cut'] == lost


def test_a_file_beside_its_gzip_is_read_once(tmp_path):
    root = write(tmp_path, [], [judged(1)])
    write_lines(tmp_path / 'comparisons/batch3.json.gz', [judged(1)])
    assert sizes(data.load('tldr', root=root).comparisons) == [1, 0, 0]


def test_articles_are_read_when_asked(tmp_path):
    root = write(tmp_path, [], [judged(3), article()])
    made = data.load('tldr', root=root)
    assert made.counts['cnndm_skipped'] == 1 and sizes(made.comparisons) == [1, 0, 0]
    made = data.load('tldr', root=root, cnndm=True, post_chars=7)
    assert made.counts['cnndm_read'] == 1
    assert made.comparisons['test'][0].prompt == 'Article:\nfirst\n\nTL;DR:\n'


def test_batches_are_those_of_train(tmp_path):
    rows = [judged(1), judged(2, batch='batch11'), judged(3, 'valid1', batch='batch12')]
    made = data.load('tldr', root=write(tmp_path, [], rows), batches=SUP4)
    assert sizes(made.comparisons) == [1, 1, 0]
    assert made.counts['other_batches_dropped'] == 1


@pytest.mark.parametrize(
    ('choice', 'confidence', 'scale', 'sure'),
    [
        (1, 9, 'slider', 1.0),
        (1, 6, 'slider', 0.25),
        (0, 1, 'slider', 1.0),
        (0, 5, 'slider', 0.0),
        (0, 9, 'sure', 1.0),
        (1, 3, 'sure', 0.25),
    ],
)
def test_strength_is_the_confidence(tmp_path, choice, confidence, scale, sure):
    row = judged(1, choice=choice, extra={'confidence': confidence})
    root = write(tmp_path, [], [row, judged(2, extra={'confidence': None})])

    def load(strength):
        made = data.load('tldr', root=root, strength=strength, confidence=scale)
        return made.comparisons['train']

    first, second = load('margin')
    assert (first.margin, first.preference) == (sure, 1.0)
    assert (second.margin, second.preference) == (0.0, 1.0)
    assert load('preference')[0].preference == pytest.approx(0.5 + sure / 2)
    assert load('')[0].margin == 0.0


def test_confidence_of_another_scale(tmp_path):
    row = judged(2, choice=0, extra={'confidence': 8})
    root = write(tmp_path, [], [judged(1), row])
    with pytest.raises(UserError, match=r'line 2: confidence 8 contradicts.*=sure'):
        data.load('tldr', root=root, strength='margin')
    data.load('tldr', root=root, strength='margin', confidence='sure')


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'choice': 2}, "'choice' is 2, not one of 0, 1"),
        ({'split': 'valid3'}, "'split' is 'valid3', not one of train, valid1, valid2"),
        ({'info': None}, "'info' is None, not an object"),
        ({'summaries': [{'text': 'a'}]}, "'summaries' is .* not a list of 2"),
        ({'summaries': [{'text': 'a'}, {}]}, "'text' is missing"),
        ({'info': {'id': 'x', 'title': 't', 'subreddit': 's'}}, "'post' is missing"),
        ({'extra': {'confidence': 12}}, "'confidence' is 12, not between 1 and 9"),
    ],
)
def test_bad_comparisons(tmp_path, change, said):
    root = write(tmp_path, [], [judged(1), judged(2, **change)])
    with pytest.raises(UserError, match=f'batch3.json, line 2: {said}; fix or delete'):
        data.load('tldr', root=root, strength='margin')


def test_bad_posts(tmp_path):
    root = write(tmp_path, [post(1), post(2, summary='')])
    with pytest.raises(UserError, match=r"train.jsonl, line 2: 'summary' is empty"):
        data.load('tldr', root=root)


@pytest.mark.parametrize('option', ['strength', 'confidence'])
def test_bad_options(tmp_path, option):
    with pytest.raises(UserError, match=f"data.{option}: 'much' is not one of"):
        data.load('tldr', root=str(tmp_path), **{option: 'much'})


def test_a_summary_begins_with_a_space(tmp_path):
    row = judged(1, summaries=[{'text': 'a\n'}, {'text': ' b'}])
    made = data.load('tldr', root=write(tmp_path, [], [row]))
    assert made.comparisons['train'][0].completions == (' b', ' a')


def test_equal_summaries_are_dropped(tmp_path):
    same = judged(1, summaries=[{'text': ' a'}, {'text': 'a '}])
    made = data.load('tldr', root=write(tmp_path, [], [same, judged(2)]))
    assert sizes(made.comparisons) == [1, 0, 0]
    assert made.counts['identical_pairs_dropped'] == 1


def test_missing_files_say_where_to_get_them(tmp_path):
    tldr(tmp_path, size=2)
    for path in (tmp_path / 'comparisons').iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r'no .*comparisons/.*summarize-from-feedback'):
        data.load('tldr', root=str(tmp_path))


def test_hub_only_when_asked(monkeypatch):
    asked = []

    def load_dataset(repository, split, **options):
        asked.append((repository, split, options))
        if 'filtered' in repository:
            return [post(len(asked))]
        return [judged(100 + len(asked), 'valid2' if split != 'train' else 'train')]

    monkeypatch.setattr('datasets.load_dataset', load_dataset)
    made = data.load('tldr', hub=True)
    assert sizes(made.prompts) == [1, 1, 1] and sizes(made.comparisons) == [1, 0, 1]
    assert [split for _, split, _ in asked] == [
        *('train', 'validation', 'test'),
        *('train', 'validation'),
    ]
    assert asked[-1][2]['data_files'] == {
        'validation': 'comparisons/validation/*.parquet'
    }
