"""SHP: the comment with more votes first, filters of train, official splits."""

import math

import pytest
from released import preference, shp, write_lines

from perl import data
from perl.data.sets.shp import DOMAINS
from perl.system.errors import UserError


def sizes(rows):
    return [len(rows[split]) for split in data.SPLITS]


def flat(root, train, validation=(), test=()):
    """A folder with one file a split."""
    for name, rows in (('train', train), ('validation', validation), ('test', test)):
        write_lines(root / f'{name}.jsonl', rows)
    return str(root)


def test_rows_to_records(tmp_path):
    rows = [preference(0), preference(1, labels=0, post_id='other')]
    made = data.load('shp', root=flat(tmp_path, rows))
    first, second = made.comparisons['train']
    prompt = f'POST: {rows[0]["history"]}\n\nRESPONSE:'
    said = (f' {rows[0]["human_ref_A"]}', f' {rows[0]["human_ref_B"]}')
    tags = (('domain', 'askbaking'),)
    assert first == data.Comparison(prompt, said, 0.0, 1.0, tags)
    assert second.completions[0] == f' {rows[1]["human_ref_B"]}'
    assert made.demonstrations['train'][0] == data.Demonstration(prompt, said[0])
    assert made.text['train'][0] == prompt + said[0]
    # Both rows are of one history, whatever the post is called.
    assert made.prompts['train'] == [prompt]


def test_domains(tmp_path):
    assert len(DOMAINS) == 18
    root = str(shp(tmp_path))
    made = data.load('shp', root=root)
    assert sizes(made.comparisons) == [48, 48, 48]
    one = data.load('shp', root=root, domains=('legaladvice',))
    assert sizes(one.comparisons) == [24, 24, 24]
    merged = [preference(0), preference(1, domain='legaladvice', post_id='p')]
    flat(tmp_path / 'flat', merged)
    made = data.load('shp', root=str(tmp_path / 'flat'), domains=('legaladvice',))
    assert sizes(made.comparisons) == [1, 0, 0]
    with pytest.raises(UserError, match="did you mean 'askbaking'"):
        data.load('shp', root=root, domains=('baking',))


@pytest.mark.parametrize('domains', [(), ('legaladvice',)])
def test_a_folder_has_all_three_files(tmp_path, domains):
    root = shp(tmp_path)
    (root / 'legaladvice/validation.json').unlink()
    with pytest.raises(UserError, match=r'no .*legaladvice/validation.json: get it fr'):
        data.load('shp', root=str(root), domains=domains)
    made = data.load('shp', root=str(root), domains=('askbaking',))
    assert sizes(made.comparisons) == [24, 24, 24]


def test_a_domain_that_is_not_there(tmp_path):
    root = str(shp(tmp_path / 'folders'))
    with pytest.raises(UserError, match=r'no .*askdocs/train.json: get it from'):
        data.load('shp', root=root, domains=('askbaking', 'askdocs'))
    root = flat(tmp_path / 'flat', [preference(0)])
    with pytest.raises(UserError, match='no row has askdocs, askvet; leave it out'):
        data.load('shp', root=root, domains=('askvet', 'askbaking', 'askdocs'))


def test_filters_are_of_train_alone(tmp_path):
    def rows(split):
        return [
            preference(n, split, post_id=f'{split}{n // 4}', score_ratio=1.0 + n % 4)
            for n in range(8)
        ]

    root = flat(tmp_path, rows('train'), rows('validation'), rows('test'))
    made = data.load('shp', root=root, min_score_ratio=2.0)
    assert sizes(made.comparisons) == [6, 8, 8]
    assert made.counts == {'low_score_ratio_dropped': 2}
    made = data.load('shp', root=root, min_score_ratio=2.0, max_pairs_per_post=1)
    assert sizes(made.comparisons) == [2, 8, 8]
    # The first pair that is good enough counts, not the first pair.
    assert made.comparisons['train'][0].completions[0].endswith('yes 1')
    assert made.counts['pairs_over_limit_dropped'] == 4


def test_strength_is_off_unless_asked(tmp_path):
    root = flat(tmp_path, [preference(0, score_ratio=4.0)])
    rows = {
        kind: data.load('shp', root=root, strength=kind).comparisons['train'][0]
        for kind in ('', 'margin', 'preference')
    }
    assert (rows[''].margin, rows[''].preference) == (0.0, 1.0)
    assert rows['margin'].margin == pytest.approx(math.log(4))
    assert rows['preference'].preference == pytest.approx(0.8)
    # The margin is the log-odds of the preference.
    odds = rows['preference'].preference / (1 - rows['preference'].preference)
    assert rows['margin'].margin == pytest.approx(math.log(odds))
    with pytest.raises(UserError, match=r"data.strength: 'margins' is not margin"):
        data.load('shp', root=root, strength='margins')


def test_a_post_stays_in_one_split(tmp_path):
    twice = [preference(0, 'train', post_id='p'), preference(0, 'test', post_id='p')]
    made = data.load('shp', root=flat(tmp_path, twice[:1], test=twice[1:]))
    assert sizes(made.comparisons) == [0, 0, 1]
    assert made.counts['leaks_dropped'] == 4


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'history': None}, "'history' is missing"),
        ({'human_ref_B': ''}, "'human_ref_B' is empty"),
        ({'labels': 2}, "'labels' is 2, not one of 0, 1"),
        ({'score_ratio': 'x'}, "'score_ratio' is 'x', not a number"),
        ({'score_ratio': 0.5}, "'score_ratio' is 0.5, not between 1"),
        ({'domain': 'pics'}, "'domain' is 'pics', not one of the 18"),
    ],
)
def test_bad_rows(tmp_path, change, said):
    root = flat(tmp_path, [preference(0), preference(1, **change)])
    with pytest.raises(
        UserError, match=f'train.jsonl, line 2: {said}.*stanfordnlp/SHP'
    ):
        data.load('shp', root=root)


def test_equal_comments_are_dropped(tmp_path):
    same = preference(0, human_ref_A='x', human_ref_B=' x')
    made = data.load('shp', root=flat(tmp_path, [same, preference(2)]))
    assert sizes(made.comparisons) == [1, 0, 0]
    assert made.counts == {'identical_pairs_dropped': 1}


def test_missing_files_say_where_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r'no .*/train.json: get it from https'):
        data.load('shp', root=str(tmp_path))


def test_hub_only_when_asked(monkeypatch):
    asked = []

    def load_dataset(repository, split):
        asked.append((repository, split))
        return [preference(n, split) for n in range(4)]

    monkeypatch.setattr('datasets.load_dataset', load_dataset)
    made = data.load('shp', hub=True)
    splits = ('train', 'validation', 'test')
    assert asked == [('stanfordnlp/SHP', split) for split in splits]
    assert sizes(made.comparisons) == [4, 4, 4]
