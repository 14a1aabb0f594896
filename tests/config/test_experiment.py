"""Arguments of a config, every rule that it must keep, and how two differ."""

import math
import pathlib

import pytest
import tiny
from imported import imported

from perl import config as configs
from perl import train
from perl.adapters.tunings import Full, LoraTuning
from perl.config import rules
from perl.losses.algorithms import ALGORITHMS
from perl.models import architecture
from perl.system.errors import UserError

# but for BOLT's, which wants a reward model first: see test_dataset_configs.py
CONFIGS = sorted(
    path
    for path in (pathlib.Path(__file__).parents[2] / 'configs').glob('[a-z]*.py')
    if path.stem not in ('bolt_messages', 'files', 'smollm2')  # these need arguments
)
DATASETS = [path for path in CONFIGS if path.stem != 'study']
STUDIES = ('algorithms', 'regularisers', 'ranks', 'optimisation', 'shared')


def parse(arg):
    return configs.parse_arg(arg, tuning='lora', rank=8, rate=0.5, shared=False)


@pytest.mark.parametrize(
    'arg, changed',
    [
        (None, {}),
        ('', {}),
        ('rank=4', {'rank': 4}),
        ('tuning=full,rank=16', {'tuning': 'full', 'rank': 16}),
        ('rate=1e-3', {'rate': 1e-3}),
        ('rate=2', {'rate': 2.0}),
        ('shared', {'shared': True}),
        ('shared=true', {'shared': True}),
        ('shared=1', {'shared': True}),
        ('shared=false', {'shared': False}),
        ('shared=0', {'shared': False}),
    ],
)
def test_arguments_have_the_types_of_their_defaults(arg, changed):
    got = dict(parse(arg))
    want = {'tuning': 'lora', 'rank': 8, 'rate': 0.5, 'shared': False, **changed}
    assert got == want
    assert {k: type(v) for k, v in got.items()} == {k: type(v) for k, v in want.items()}


@pytest.mark.parametrize(
    'arg, says',
    [
        ('rnk=4', r"'rnk' is unknown; did you mean 'rank'\?; the config takes arg"),
        ('xyz=4', r"'xyz' is unknown; .* arguments: tuning, rank, rate, shared"),
        ('rank=four', r"rank='four' is not a whole number"),
        ('rank=4.5', r"rank='4.5' is not a whole number"),
        ('rank', r"rank='' is not a whole number"),
        ('rate=fast', r"rate='fast' is not a number"),
        ('shared=maybe', r"shared='maybe' is not true or false"),
        ('rank=4,rank=8', r"'rank' is given twice"),
    ],
)
def test_arguments_that_cannot_be(arg, says):
    with pytest.raises(UserError, match=says):
        parse(arg)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_keep_the_rules(path):
    module = imported(path)
    rules.validate(module.get_config())
    with pytest.raises(UserError, match='unknown'):
        module.get_config('colour=red')


def test_an_algorithm_brings_its_customs():
    grpo = configs.policy_config(1e-3, algorithm='grpo')
    assert (grpo.samples, grpo.kl_in, grpo.kl_estimator) == (4, 'loss', 'k3')
    assert configs.policy_config(1e-3, algorithm='rloo', samples=2).samples == 2
    assert configs.policy_config(1e-3).samples == 1


@pytest.mark.parametrize('algorithm', ALGORITHMS)
@pytest.mark.parametrize('path', DATASETS, ids=lambda path: path.stem)
def test_shipped_configs_take_every_algorithm(path, algorithm):
    rules.validate(train.load_config(f'{path}:algorithm={algorithm}'))


@pytest.mark.parametrize('study', STUDIES)
def test_studies_keep_the_rules(study):
    path = next(path for path in CONFIGS if path.stem == 'study')
    rules.validate(train.load_config(f'{path}:study={study},seed=3'))


def test_the_defaults_keep_the_rules():
    rules.validate(configs.experiment('x'))


@pytest.mark.parametrize(
    'changes, says',
    [
        ({'stages': ('sft', 'rewrd')}, r"stages: 'rewrd' .*; did you mean 'reward'\?"),
        ({'sft.kind': 'sfd'}, r"sft\.kind: 'sfd' is not one of .*did you mean 'sft'"),
        ({'sft.tuning.name': 'lara'}, r"^sft\.tuning\.name: 'lara' is not one of"),
        ({'sft.tuning.rank': 0}, r'sft\.tuning\.rank: 0 must be greater than 0'),
        ({'sft.tuning.alpha': -1.0}, r'sft\.tuning\.alpha: -1\.0 must be greater'),
        (
            {'sft.tuning.dropout': 1.0},
            r'^sft\.tuning\.dropout: 1\.0 must be in \[0, 1\)',
        ),
        ({'sft.optimizer.name': 'adam'}, r"sft\.optimizer\.name: 'adam'.*'adamw'"),
        ({'sft.optimizer.schedule': 'x'}, r"sft\.optimizer\.schedule: 'x' is not one"),
        ({'sft.optimizer.learning_rate': 0.0}, r'sft\.optimizer\.learning_rate: 0\.0'),
        ({'sft.steps': 0}, r'sft\.steps: 0 must be greater than 0'),
        ({'sft.batch_size': 0}, r'sft\.batch_size: 0 must be greater than 0'),
        ({'sft.save_every': 0}, r'sft\.save_every: 0 must be greater than 0'),
        ({'sft.micro_batches': 0}, r'sft\.micro_batches: 0 must be greater than 0'),
        ({'sft.micro_batches': 3}, r'sft\.micro_batches: 3 does not divide 32 rows'),
        ({'reward.loss': 'pairs'}, r"reward\.loss: 'pairs' is not one of"),
        ({'pretrain.tuning.name': 'lora'}, r'pretrain\.tuning\.name: a base from scr'),
        ({'policy.algorithm': 'pppo'}, r"policy\.algorithm: .* did you mean 'ppo'"),
        ({'policy.kl_controller': 'x'}, r"policy\.kl_controller: 'x' is not one of"),
        ({'policy.value_start': 'x'}, r"policy\.value_start: 'x' is not one of sft"),
        ({'policy.epochs': 0}, r'policy\.epochs: 0 must be greater than 0'),
        (
            {'policy.temperature': 0.0},
            r'policy\.temperature: 0\.0 must be in \[0\.001,',
        ),
        ({'policy.clip': 0.0}, r'policy\.clip: 0\.0 must be greater than 0'),
        ({'policy.minibatches': 5}, r'policy\.minibatches: 5 does not divide batch_s'),
        (
            {'policy.micro_batches': 5},
            r'policy\.micro_batches: 5 does not divide 32 rows',
        ),
        (
            {'policy.algorithm': 'reinforce', 'policy.kl_coefficient': 1.5},
            r'policy\.kl_coefficient: .*beta must be in \[0, 1\], not 1\.5',
        ),
        ({'seed': -1}, r'seed: -1 must be 0 or more'),
        ({'reward.shuffle': -1}, r'reward\.shuffle: -1 must be 0 or more'),
        ({'sft.eval_every': -1}, r'sft\.eval_every: -1 must be 0 or more'),
        ({'sft.optimizer.b2': 1.0}, r'optimizer\.b2: 1\.0 must be in \[0, 1\)'),
        ({'sft.optimizer.warmup': -5}, r'optimizer\.warmup: -5 must be 0 or more'),
        ({'sft.optimizer.eps': -1.0}, r'optimizer\.eps: -1\.0 must be greater'),
        ({'sft.tuning.alpha': math.inf}, r'sft\.tuning\.alpha: inf must be finite'),
        ({'evaluation.temperature': math.nan}, r'evaluation\.temperature: nan must be'),
        ({'policy.missing_eos_penalty': math.nan}, r'missing_eos_penalty: nan must be'),
        ({'policy.reward': 'model'}, r'policy\.judge\.model: model needs one'),
        ({'stages': ()}, r'stages: none is named'),
        ({'stages': ('model',)}, r"stages: 'model' is not a stage of this config"),
        ({'stages': ('seed',)}, r"stages: 'seed' is not a stage of this config"),
        ({'sft.kind': 'policy'}, r"sft: the field 'algo"),
        ({'lengths.prompt': 0}, r'lengths\.prompt: 0 must be greater than 0'),
        ({'lengths.response': 500}, r'lengths: prompt 64 \+ response 500 is longer'),
        ({'evaluation.prompts': 0}, r'evaluation\.prompts: 0 must be greater than 0'),
        ({'tokenizer.kind': 'byte'}, r"tokenizer\.kind: 'byte'.*did you mean 'bytes'"),
        ({'tokenizer.kind': 'file'}, r'tokenizer\.path: kind "file" needs a path'),
        ({'model.path': 'base'}, r'stages: pretrain makes a base, but model\.path'),
    ],
    ids=str,
)
def test_a_rule_that_is_broken_is_named(changes, says):
    config = configs.experiment('x')
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=says):
        rules.validate(config)


def test_stages_that_are_not_run_are_not_judged():
    config = configs.experiment('x')
    config.stages, config.policy.clip = ('pretrain', 'sft'), 0.0
    rules.validate(config)


PARTS = ('name', 'seed', 'stages', 'model', 'tokenizer', 'data', 'lengths', 'mesh')


@pytest.mark.parametrize('name', [*PARTS, 'evaluation', 'tensorboard'])
def test_a_config_without_a_part_is_refused(tmp_path, name):
    config = configs.experiment('x')
    del config[name]
    with pytest.raises(UserError, match=f'config: it has no {name}; start from'):
        train.run(config, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('name', ['../x', 'a/b', '..', '/x', 'a\nb', '.'])
def test_a_name_that_is_none_of_a_folder(name):
    config = configs.experiment(name)
    with pytest.raises(UserError, match=r'name: .* is not the name of a folder'):
        rules.validate(config)


def test_a_config_without_a_stage_of_its_own_is_refused():
    config = configs.experiment('x')
    del config.sft
    with pytest.raises(UserError, match="stages: 'sft' is not a stage of this config"):
        train.run(config)
    config.stages = ('pretrain',)
    rules.validate(config)


@pytest.mark.parametrize(
    'text, says',
    [
        ('x = 3', r'broken\.py has no get_config'),
        ('def get_config(arg=None):\n    pass', r'broken\.py returned None, not a'),
    ],
)
def test_a_file_without_a_config_is_refused(tmp_path, text, says):
    (tmp_path / 'broken.py').write_text(text)
    with pytest.raises(UserError, match=says):
        train.load_config(str(tmp_path / 'broken.py'))


def test_tunings_of_a_config():
    assert configs.tuning(configs.tuning_config('full')) == Full()
    chosen = configs.tuning_config(rank=4, rank_stabilised=True, targets=['.*q:2'])
    assert configs.tuning(chosen) == LoraTuning(4, 4.0, True, 0.0, ('.*q:2',))
    leaves = architecture.parameters(tiny.ARCH)
    assert configs.coverage(chosen, leaves).startswith('lora r=2: 1 kinds')


def test_the_architecture_of_a_config():
    config = configs.experiment('x')
    config.model.update(width=64, scan=True)
    arch = configs.architecture(config, 300)
    assert (arch.vocabulary, arch.width, arch.scan, arch.tied) == (300, 64, True, True)
