"""Pairs of a policy's own responses know what their prompts belong to."""

import dataclasses

import runs

from perl.evaluation.figures import clusters
from perl.evaluation.sampled_pairs import sample_pairs
from perl.rollout.choosing import Sampling
from perl.runs import opening


def test_pairs_of_one_dialog_are_one_cluster(finished, tmp_path):
    run = opening.open_finished(runs.clone(finished, tmp_path / 'run'))
    prompts = list(dict.fromkeys(run.dataset.prompts['val']))[:3]
    groups = dict.fromkeys(prompts[:2], 'dialog')
    run.dataset = dataclasses.replace(run.dataset, prompt_groups=groups)
    sampling = Sampling(run.config.lengths.response, run.tokenizer.eos, 1.0)
    pairs = sample_pairs(run, run.role('sft'), prompts, sampling, tmp_path / 'pairs')
    assert [pair.group for pair in pairs] == ['dialog', 'dialog', '']
    assert clusters.of_records(pairs).tolist() == [0, 0, 1]
