"""The configs of the paper's datasets: its numbers, one-line errors, short runs."""

import socket

import pytest
import released
import runs
from commands import ROOT, command

from perl import check, train
from perl.config import rules
from perl.system.errors import UserError

# A config, the writer of small files of its data, and arguments that fit those files.
CONFIGS = {
    'reddit_tldr': (released.tldr, ''),
    'shp': (released.shp, ''),
    'harmlessness': (released.hh, ''),
    'helpfulness': (lambda root: released.hh(root, ('helpful-base',)), ''),
    'ui_automation': (released.android_control, 'data=android_control'),
    'ui_automation of refexp': (released.refexp, 'data=refexp'),
}
NAMES = list(CONFIGS)


def load(name, *arguments):
    file = ROOT / f'configs/{name.split()[0]}.py'
    arguments = [x for x in (CONFIGS[name][1], *arguments) if x]
    return train.load_config(f'{file}:{",".join(arguments)}').unlock()


def tiny(config, root, **changes):
    """The experiment with a model that compiles in a second, on small files."""
    config.data.root = str(root)
    config.model.update(width=16, layers=1, heads=2, kv_heads=2, head_width=8)
    config.model.update(hidden=32, max_length=64, dtype='float32', remat=False)
    config.lengths.update(prompt=40, response=16)
    config.evaluation.update(prompts=4, batch_size=4)
    config.tokenizer.update(kind='bytes')
    for name in config.stages:
        config[name].update(steps=2, batch_size=4, save_every=2)
        if config[name].kind != 'policy':
            config[name].eval_every = 1
    config.update_from_flattened_dict(changes)
    return config.lock()


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """The folder with the small files of a config."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = CONFIGS[name][0](tmp_path_factory.mktemp('data'))
        return made[name]

    return folder


@pytest.fixture(scope='module')
def summarised(small, tmp_path_factory):
    """The folder of a small run on TL;DR."""
    workdir = tmp_path_factory.mktemp('tldr') / 'run'
    runs.run(tiny(load('reddit_tldr'), small('reddit_tldr')), workdir)
    return workdir


@pytest.fixture
def offline(monkeypatch):
    """Any call to another machine is an error."""

    def refuse(*args, **kwargs):
        raise AssertionError('the network was touched')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('scale', ['paper', 'laptop'])
@pytest.mark.parametrize('tuning', ['lora', 'full'])
def test_arguments_reach_the_stages(name, scale, tuning):
    config = load(
        name, f'scale={scale}', f'tuning={tuning},rank=4,algorithm=ppo,seed=2'
    )
    rules.validate(config)
    assert config.seed == 2 and config.policy.algorithm == 'ppo'
    assert config.stages == ('pretrain', 'sft', 'reward', 'policy')
    for stage in (config.reward, config.policy):
        assert (stage.tuning.name, stage.tuning.rank) == (tuning, 4)
    assert (config.model.dtype == 'bfloat16') == (scale == 'paper')


@pytest.mark.parametrize(
    ('name', 'arguments', 'rate', 'dropout'),
    [
        ('reddit_tldr', 'tuning=full', 1e-5, 0.0),
        ('reddit_tldr', 'tuning=lora', 1e-4, 0.0),
        ('harmlessness', 'tuning=full', 1e-5, 0.0),
        ('harmlessness', 'tuning=lora', 2e-4, 0.0),
        ('shp', 'tuning=full', 1e-4, 0.0),
        ('shp', 'rank=1', 1e-4, 0.01),
        ('shp', 'rank=4', 2e-4, 0.05),
        ('shp', 'rank=8', 1e-4, 0.05),
        ('shp', 'rank=16', 2e-5, 0.02),
        ('ui_automation', 'tuning=full', 1e-5, 0.0),
        ('ui_automation', 'rank=1', 2e-4, 0.01),
        ('ui_automation', 'rank=4', 1e-4, 0.01),
        ('ui_automation', 'rank=8', 2e-4, 0.0),
        ('ui_automation', 'rank=16', 5e-5, 0.01),
    ],
)
def test_reward_models_of_the_paper(name, arguments, rate, dropout):
    """arXiv 2403.10704v2, A.3 and Tables 5 and 6 (PaLM 2 S)."""
    stage = load(name, arguments).reward
    assert stage.optimizer.learning_rate == rate
    assert stage.tuning.dropout == dropout
    assert (stage.batch_size, stage.steps, stage.keep_best) == (128, 5000, True)


@pytest.mark.parametrize('name', NAMES)
def test_the_rest_of_the_paper(name):
    """PERL A.3 and, where it prints nothing, RLAIF (arXiv 2309.00267) A.3 and G."""
    config = load(name)
    assert config.sft.optimizer.learning_rate == 1e-5
    assert (config.data.name == 'refexp') == ('refexp' in name)
    policy = config.policy
    assert (policy.batch_size, policy.kl_coefficient, policy.gamma) == (128, 0.05, 1.0)
    assert policy.optimizer.learning_rate == policy.value_learning_rate == 1e-5
    summaries = name in ('reddit_tldr', 'shp')
    assert policy.temperature == (0.7 if summaries else 0.9)
    assert (policy.start, policy.value_start) == ('sft', 'sft')
    for stage in (config.sft, config.reward, policy):
        assert stage.optimizer.name == 'adafactor'
    lengths = {'reddit_tldr': (512, 53), 'ui_automation': (1024, 64)}
    found = (config.lengths.prompt, config.lengths.response)
    assert found == lengths.get(name.split()[0], (1024, 128))
    loss = 'pointwise' if 'ui' in name else 'bradley_terry'
    assert config.reward.loss == loss


def test_ranks_that_were_not_tried_take_the_numbers_of_8():
    assert load('shp', 'rank=3').reward.optimizer.learning_rate == 1e-4


@pytest.mark.parametrize('name', NAMES)
def test_without_data_one_line_says_where_to_get_them(name, tmp_path, offline):
    config = load(name)
    with pytest.raises(UserError, match=r'^data.root is not given: get \S+ from https'):
        check.check(config, tmp_path / 'run')
    config.data.root = str(tmp_path)
    with pytest.raises(
        UserError, match=rf'^no {tmp_path}/\S+: get it from https://\S+'
    ):
        check.check(config, tmp_path / 'run')


@pytest.mark.parametrize(
    ('config', 'said'),
    [
        ('shp', 'data.root is not given: get'),
        ('shp:scale=desk', "scale='desk' is not one of paper, laptop"),
        (
            'ui_automation:data=rico',
            "data='rico' is not one of android_control, refexp",
        ),
        ('bolt_messages', "reward='' is not an adapter: train configs/reddit_tldr.py"),
    ],
)
def test_the_command_says_one_line(config, said, tmp_path):
    file, _, arguments = config.partition(':')
    where = f'--config=configs/{file}.py' + (f':{arguments}' if arguments else '')
    error = command('perl.train', where, f'--workdir={tmp_path}', '--check').error
    assert said in error and 'Traceback' not in error


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('scale', ['paper', 'laptop'])
def test_check_passes_with_data(name, scale, small, tmp_path, offline):
    config = load(name, f'scale={scale}')
    config.data.root = str(small(name))
    config.tokenizer.kind = 'bytes'
    if 'refexp' in name:
        assert config.data.no_train
    found = check.check(config, tmp_path / 'run')
    assert set(found['data']['reward']) == {'train', 'val', 'test'}
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    'name', [x for x in NAMES[1:] if x not in ('shp', 'helpfulness')]
)
def test_short_run(name, small, tmp_path, offline):
    """Helpfulness is harmlessness on other files, which are read above."""
    figures = runs.run(tiny(load(name), small(name)), tmp_path / 'run')
    assert set(figures) == {'pretrain', 'sft', 'reward', 'policy'}
    assert 0 <= figures['reward']['accuracy'] <= 1
    assert ('gold_after' in figures['policy']) == ('ui' in name)


def test_posts_and_comments_train_a_reward_model(small, tmp_path, offline):
    config = load('shp')
    config.stages = ('pretrain', 'reward')
    del config.sft, config.policy
    config.reward.start = 'base'
    figures = runs.run(tiny(config, small('shp')), tmp_path / 'run')
    assert 0 <= figures['reward']['accuracy'] <= 1


def test_a_base_takes_the_place_of_pretraining(summarised, small, tmp_path):
    """With the tokenizer that it was trained with."""
    base = summarised / 'pretrain/base'
    config = load('harmlessness', f'base={base}')
    assert config.stages == ('sft', 'reward', 'policy')
    assert config.model.path == str(base)
    assert config.tokenizer.path == str(base / 'tokenizer')
    config.data.root = str(small('harmlessness'))
    with pytest.raises(UserError, match=r'1024 .* longer than model\.max_length'):
        check.check(config, tmp_path / 'run')
    config.lengths = {'prompt': 40, 'response': 24}
    found = check.check(config, tmp_path / 'run')
    assert 'pretrain' not in found['stages']


def test_messages_are_judged_by_the_reward_model_of_tldr(summarised, tmp_path, offline):
    root = released.bolt(tmp_path / 'data')
    reward, base = summarised / 'reward/adapter', summarised / 'pretrain/base'
    file = ROOT / f'configs/bolt_messages.py:reward={reward},base={base}'
    config = train.load_config(str(file)).unlock()
    assert config.policy.optimizer.learning_rate == 1e-4
    assert (config.policy.temperature, config.policy.batch_size) == (0.7, 128)
    config.data.root = str(tmp_path / 'nothing')
    with pytest.raises(UserError, match=r'xml: get it from .*LDC2018T19'):
        check.check(config, tmp_path / 'run')
    path = config.tokenizer.path
    config = tiny(config, root, **{'tokenizer.kind': 'file', 'tokenizer.path': path})
    check.check(config, tmp_path / 'run')
    figures = runs.run(config, tmp_path / 'run')
    assert set(figures) == {'sft', 'policy'}


@pytest.mark.parametrize('scale', ['paper', 'laptop'])
def test_the_reward_model_of_tldr_sits_on_the_base(scale):
    """That of its SFT model, tuned in full, would be of no use to another run."""
    config = load('reddit_tldr', f'scale={scale}')
    assert (config.sft.tuning.name, config.reward.start) == ('full', 'base')


def test_messages_need_the_base_of_the_reward_model(summarised):
    file = ROOT / f'configs/bolt_messages.py:reward={summarised / "reward/adapter"}'
    with pytest.raises(UserError, match='argument base is missing: give the base that'):
        train.load_config(str(file))


@pytest.mark.parametrize(
    ('name', 'folder', 'sizes'),
    [
        ('harmlessness', 'hh-rlhf', [1860, 229, 214]),
        ('ui_automation of refexp', 'uibert_refexp', [1369, 153, 1834]),
    ],
)
def test_check_of_the_real_data(name, folder, sizes, shared, tmp_path, offline):
    config = load(name, 'scale=laptop')
    config.data.root = str(shared / 'data' / folder)
    found = check.check(config, tmp_path / 'run')
    assert [row['examples'] for row in found['data']['reward'].values()] == sizes


def test_the_scale_chooses_the_data_of_ui_automation():
    file = ROOT / 'configs/ui_automation.py'
    names = [train.load_config(f'{file}:{x}').data.name for x in ('', 'scale=laptop')]
    assert names == ['android_control', 'refexp']
