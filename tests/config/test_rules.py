"""Names and types anywhere in a config, as a file may have them."""

import copy
import json

import pytest
from ml_collections import ConfigDict
from runs import config as small

from perl import config as configs
from perl.config import rules
from perl.system.errors import UserError


def assign(path, value):
    """A config with a value at a path that it need not have had."""
    config = configs.experiment('x')
    *sections, name = path.split('.')
    section = config
    for part in sections:
        section = section[part]
    with section.ignore_type(), section.unlocked():
        section[name] = value
    return config


@pytest.mark.parametrize(
    ('path', 'value', 'says'),
    [
        ('policy.kl_coef', 0.5, r"policy\.kl_coef: a stage of kind policy .*'kl_coeff"),
        ('sft.stepz', 3, r"sft\.stepz: a stage of kind sft has no .*mean 'steps'\?"),
        ('lengths.promt', 9, r"lengths\.promt is unknown; did you mean 'prompt'\?"),
        ('sft.batchsize', 4, r"sft\.batchsize: .*did you mean 'batch_size'\?"),
        ('sft.tuning.rnk', 4, r"sft\.tuning\.rnk is unknown; did you mean 'rank'\?"),
        ('sft.optimizer.lr', 4, r"sft\.optimizer\.lr is unknown; did you mean 'learn"),
        ('policy.judge.mdel', '', r"policy\.judge\.mdel .*did you mean 'model'\?"),
        ('tensorbord', True, r"tensorbord is unknown; did you mean 'tensorboard'\?"),
        ('modle', {'width': 3}, r"modle is unknown; did you mean 'model'\?"),
        ('model.witdh', 3, r"model\.witdh is unknown; did you mean 'width'\?"),
        ('reward.lerning_rate', 1, r"mean 'reward\.optimizer\.learning_rate'\?"),
        ('reward.tuning.optimizr', 1, r'reward\.tuning\.optimizr is unknown'),
        ('model.rnk', 1, r'model\.rnk is unknown'),
        ('sft.keep_best', True, r'sft\.keep_best: a stage of kind sft has no such set'),
        ('pretrain.keep_best', False, r'pretrain\.keep_best: a stage of kind pretrain'),
        ('pretrain.start', 'base', r'pretrain\.start: a stage of kind pretrain has no'),
        (
            'sft.share_prompts',
            'always',
            r'sft\.share_prompts: a stage of kind sft has no',
        ),
        ('policy.keep_best', True, r'policy\.keep_best: a stage of kind policy has no'),
        ('reward.algorithm', 'ppo', r'reward\.algorithm: a stage of kind reward has'),
        ('policy.algorithm', 'dpo', r'policy\.algorithm: dpo is a kind of stage, not'),
        ('model.dtype', 'float8', r"model\.dtype: 'float8' is not one of float32"),
        ('sft', 5, r'sft: 5 is one value, not a section'),
        ('sft', ConfigDict({'steps': 3}), r'sft\.kind is missing; it must be pretrain'),
        ('sft.kind', 7, r'sft\.kind: 7 \(int\) is not text'),
        ('sft.tuning', 'lora', r"sft\.tuning: 'lora' is one value, not a section"),
        ('sft.tuning', ConfigDict({'rank': 4}), r'sft\.tuning\.name is missing'),
        (
            'sft.tuning.name',
            'nowhere:Mine',
            r'^sft\.tuning\.name: nowhere:Mine: there is no module',
        ),
        ('sft.optimizer', ConfigDict(), r'sft\.optimizer\.b1 is missing'),
        ('stages', 5, r'stages: 5 \(int\) is not a list'),
        ('name', '', r'name: it is empty'),
        ('stages', ('pretrain', 'sft', 'sft'), r'stages: sft is named twice'),
        ('stages', (5,), r'stages\[0\]: 5 \(int\) is not text'),
        ('stages', 'sft', r"stages: 'sft' \(str\) is not a list"),
        ('sft.tuning.targets', 'q', r"sft\.tuning\.targets: 'q' \(str\) is not a list"),
        ('sft.steps', None, r'sft\.steps: None \(NoneType\) is not a whole number'),
        ('data', 'files', r"data: 'files' is one value, not a section"),
        ('data', ConfigDict({'name': 3}), r'data\.name: 3 \(int\) is not text'),
        ('data', ConfigDict(), r'data\.name is missing'),
    ],
)
def test_a_name_or_type_that_is_wrong(path, value, says):
    with pytest.raises(UserError, match=says):
        rules.validate(assign(path, value))


def test_names_are_checked_in_stages_that_do_not_run():
    config = assign('policy.kl_coef', 0.5)
    config.stages = ('pretrain', 'sft')
    with pytest.raises(UserError, match='kl_coef'):
        rules.validate(config)


@pytest.mark.parametrize('name', ['polciy', 'plicy', 'policys', 'sfft', 'stf'])
def test_a_section_that_no_stage_uses_is_a_misspelling(name):
    near = 'sft' if name.startswith('s') else 'policy'
    with pytest.raises(UserError, match=f"{name}: no stage .* mean '{near}'"):
        rules.validate(assign(name, configs.policy_config(1e-3)))


@pytest.mark.parametrize(
    'name', ['reward_full', 'my_reward', 'reward2', 'dpo', 'judge']
)
def test_a_stage_of_another_sitting_is_none(name):
    rules.validate(assign(name, configs.dpo_config(1e-3)))


def with_stage(name, section):
    config = configs.experiment('x')
    config[name] = section
    config.stages = (*config.stages, name)
    return config


@pytest.mark.parametrize('name', ['a/b', 'm:f', 'a,b', '', 'a b', 'a\n', '-a'])
def test_the_name_of_a_stage_is_that_of_a_folder_and_of_a_flag(name):
    config = with_stage(name, configs.stage_config('reward', 1e-3))
    with pytest.raises(UserError, match='has letters, digits, _ and - only'):
        rules.validate(config)


@pytest.mark.parametrize('name', ['base', 'gold', 'endpoint', 'recorded', 'plots'])
def test_a_stage_does_not_take_the_name_of_something_else(name):
    config = with_stage(name, configs.stage_config('reward', 1e-3))
    with pytest.raises(UserError, match=f'{name}: a stage cannot have this name'):
        rules.validate(config)


def test_names_of_stages_that_are_fine():
    for name in ('reward-2', 'reward_é', '2nd', 'Reward'):
        rules.validate(with_stage(name, configs.stage_config('reward', 1e-3)))


def test_pretraining_has_one_name():
    section = configs.stage_config('pretrain', 1e-3, tuning={'name': 'full'})
    with pytest.raises(UserError, match=r'from_scratch: .* must be called pretrain'):
        rules.validate(with_stage('from_scratch', section))


def test_a_path_of_a_tokenizer_that_nothing_reads():
    with pytest.raises(UserError, match=r'is not read where tokenizer.kind'):
        rules.validate(assign('tokenizer.path', 'a/tokenizer'))


def test_full_needs_no_fields_of_lora():
    rules.validate(assign('sft.tuning', ConfigDict({'name': 'full'})))


@pytest.mark.parametrize('of', [(), ('average',), ('nowhere',)], ids=str)
def test_a_stage_that_does_not_run_may_be_made_of_nothing(of):
    """What a policy learns from may be of another sitting, but it must be something."""
    config = configs.experiment('x')
    config.average = configs.average_config(of)
    config.policy.reward = 'average'
    with pytest.raises(UserError, match=r'average\.of: name the earlier stages'):
        rules.validate(config)


def leaves(values, path=()):
    for name, value in values.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))


def edited(values, path, change):
    values = copy.deepcopy(values)
    section = values
    for name in path[:-1]:
        section = section[name]
    change(section, path[-1])
    return values


def once(values):
    """The path of each setting, once where sections are checked by the same rules:
    stages of a kind, and what is inside a section of a stage."""
    paths = {}
    for path in leaves(values):
        section = values[path[0]]
        kind = section.get('kind', path[0]) if isinstance(section, dict) else path[0]
        paths.setdefault(path[-2:] if len(path) > 2 else (kind, *path[1:]), path)
    return list(paths.values())


VALUES = (None, True, -1, 1.5, 2**64, 1e308, 'x', '', [], [1], {}, {'x': [{}]})


def test_no_edit_of_a_config_is_a_traceback():
    """Each setting of `config.json` removed, renamed, or of another type (neighbours
    share the types): it passes or is refused in one line."""
    values = json.loads(small('pair').to_json())
    values['average'] = json.loads(configs.average_config(('reward',)).to_json())
    values['gate'] = json.loads(configs.ensemble_config(('reward',)).to_json())
    values['dpo'] = json.loads(configs.dpo_config(1.0).to_json())
    values['dpo']['tuning'] = values['sft']['tuning']
    values['stages'] += ['gate', 'dpo']
    rules.validate(configs.from_json(values))
    refused = 0
    changes = [lambda section, name: section.pop(name)]
    changes += [lambda section, name: section.update({f'{name}_': section.pop(name)})]
    types = [lambda section, name, x=x: section.update({name: x}) for x in VALUES]
    for place, path in enumerate(once(values)):
        for change in [*changes, *types[place % 2 :: 2]]:
            try:
                rules.validate(configs.from_json(edited(values, path, change)))
            except UserError as error:
                refused += 1
                assert '\n' not in str(error)
    assert refused > 1000
