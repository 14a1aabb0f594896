"""UIBert RefExp: screens as text, the right click, an exact reward."""

import pytest
from released import example, refexp, screen, write_records

from perl import data
from perl.system.errors import UserError


def load(root, *screens, **options):
    """A folder with some screens, all of them in the test file."""
    write_records(root / 'ref_exp/dev.tfrecord', [])
    write_records(root / 'ref_exp/test.tfrecord', map(example, screens))
    return data.load('refexp', root=str(root), no_train=True, **options)


def test_a_screen_to_records(tmp_path):
    made = load(tmp_path, screen(0, label=1))
    (row,) = made.demonstrations['test']
    assert row.prompt.split('\n') == [
        'instruction: click on large new',
        '? at 84 2: click(0)',
        'text view "red blue" at 15 22: click(1)',
        'image button "large new" at 55 22: click(2)',
        'image view "photo" at 15 42: click(3)',
        'instruction: click on large new',
        'action:',
    ]
    assert row.response == ' click(2)'
    assert made.text['test'] == [row.prompt + row.response]
    assert made.prompts['test'] == [row.prompt]


def test_right_and_wrong(tmp_path):
    made = load(tmp_path, screen(0, label=1), negatives=2)
    assert [row.label for row in made.ratings['test']] == [1, 0, 0]
    wrong = {row.completions[1] for row in made.comparisons['test']}
    assert len(wrong) == 2 and wrong < {' click(0)', ' click(1)', ' click(3)'}
    assert made.counts['programmatic_negatives'] == 2
    for row in made.ratings['test']:
        assert made.gold(row.prompt, row.response) == row.label
    every = load(tmp_path, screen(0, label=1), negatives=9)
    assert len(every.comparisons['test']) == 3


@pytest.mark.parametrize(
    ('response', 'worth'),
    [
        ('click(2)', 1.0),
        ('  click(2)\n', 1.0),
        ('click(1)', 0.0),
        ('click(22)', 0.0),
        ('click(2) click(1)', 0.0),
        ('click(02)', 1.0),
        ('2', 0.0),
        ('', 0.0),
    ],
)
def test_gold(tmp_path, response, worth):
    made = load(tmp_path, screen(0, label=1))
    assert made.gold(made.prompts['test'][0], response) == worth


def test_a_leaf_describes_what_it_covers(tmp_path):
    """Half of the area at least, and the description where there is no text."""
    shifted = screen(0)['image/view_hierarchy/bbox/xmin'].copy()
    shifted[0] += 0.06
    more = {
        'image/view_hierarchy/bbox/xmin': shifted,
        'image/view_hierarchy/text': ['', '', 'x' * 99],
        'image/view_hierarchy/description': ['', 'like', ''],
    }
    made = load(tmp_path, screen(0, label=0, **more))
    rows = made.prompts['test'][0].split('\n')
    assert rows[2:5] == [
        '? at 15 22: click(1)',
        'image button "like" at 55 22: click(2)',
        f'image view "{"x" * 60}" at 15 42: click(3)',
    ]
    assert made.counts['targets_undescribed'] == made.counts['leaf_texts_cut'] == 1


def test_a_screen_without_leaves(tmp_path):
    names = [name for name in screen(0) if 'view_hierarchy' in name]
    made = load(tmp_path, {k: x for k, x in screen(0).items() if k not in names})
    assert made.prompts['test'][0].count('? at') == 4


def test_splits(tmp_path):
    root = str(refexp(tmp_path))
    made = data.load('refexp', root=root, no_train=True)
    assert [len(rows) for rows in made.prompts.values()] == [55, 5, 60]
    with pytest.raises(UserError, match=r'no .*train.tfrecord.*no_train=True'):
        data.load('refexp', root=root)
    refexp(tmp_path, size=6, names=('train', 'dev', 'test'))
    made = data.load('refexp', root=root)
    assert [len(rows) for rows in made.prompts.values()] == [6, 6, 6]
    assert made.counts['leaks_dropped'] == 0


def test_a_screen_stays_in_one_split(tmp_path):
    for name in ('train', 'dev', 'test'):
        number = 7 if name == 'dev' else 8
        payload = example(screen(number))
        write_records(tmp_path / f'ref_exp/{name}.tfrecord', [payload])
    made = data.load('refexp', root=str(tmp_path))
    assert [len(rows) for rows in made.prompts.values()] == [0, 1, 1]
    assert made.counts['leaks_dropped'] > 0


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'image/ref_exp/label': [4]}, 'image/ref_exp/label is 4, of 4 elements'),
        ({'image/ref_exp/label': []}, 'it has 0 values of image/ref_exp/label'),
        ({'image/object/bbox/ymax': [0.5]}, 'do not have the same length'),
        ({'image/view_hierarchy/text': ['a']}, 'it has 3 leaves but not as many'),
    ],
)
def test_bad_records(tmp_path, change, said):
    with pytest.raises(UserError, match=f'test.tfrecord, record 2: .*{said}.*/uibert'):
        load(tmp_path, screen(0), screen(1, **change))


def test_real_files(shared):
    made = data.load('refexp', root=str(shared / 'data/uibert_refexp'), no_train=True)
    sizes = [len(rows) for rows in made.prompts.values()]
    assert sizes == [457, 52, 616] and sum(sizes[:2]) == 509
    # 24 and 30: an overlap of a half describes 95 % of the targets.
    assert made.counts['targets_undescribed'] == 54
    for split in data.SPLITS:
        for row in made.ratings[split]:
            assert made.gold(row.prompt, row.response) == row.label
        assert {row.completions[0] for row in made.comparisons[split]} >= {' click(1)'}
    elements = [row.count(': ') - 2 for row in made.prompts['test']]
    assert 18 < sum(elements) / 616 < 20
