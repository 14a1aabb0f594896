"""Which weights `keep_best` keeps."""

from perl.stages.best import Best


def test_without_a_figure_the_last_weights_are_kept_and_it_is_said(tmp_path, capsys):
    """As where every label of the validation split is a tie."""
    best = Best(tmp_path / 'reward', 'val_accuracy', card=None, place=None)
    best.offer({'val_loss': 0.5}, 3, role=None)
    last = object()
    assert best.choose(last) is last
    said = capsys.readouterr().out
    assert said.startswith('reward: keep_best: ') and 'last weights are kept' in said


def test_a_stage_that_does_not_ask_for_the_best_says_nothing(tmp_path, capsys):
    last = object()
    assert Best(tmp_path / 'sft', None, card=None, place=None).choose(last) is last
    assert capsys.readouterr().out == ''
