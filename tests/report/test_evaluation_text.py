"""The figures of an evaluation in the terminal."""

from perl.report.evaluation_text import table

DECIDED = {'accuracy': 0.75, 'ci95': {'accuracy': [0.5, 0.9]}, 'n': 12}
TIED = {'accuracy': float('nan'), 'ci95': {'accuracy': [None, None]}, 'n': 0}


def test_a_figure_and_its_interval():
    assert table({'reward': DECIDED}) == 'reward: n=12, accuracy 0.750 [0.500, 0.900]'


def test_a_split_of_nothing_but_ties_has_no_accuracy():
    said = table({'reward': {**TIED, 'labelled_ties': 12}})
    assert said == 'reward: n=0, no accuracy: 12 labelled ties, no label that decides'
