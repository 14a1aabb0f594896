"""The judges that have a name of their own.

All others are a reward model, by its stage or folder, or `module:function`.
`perl.runs.judging` opens them.
"""

# what each is, for a person
KNOWN = {
    'gold': 'the gold reward',
    'endpoint': 'a language model',
    'model': 'a language model of this run',
    'annotators': 'simulated annotators',
    'recorded': 'recorded answers',
}
# language models, and the settings that each needs; they answer other questions too
LANGUAGE = {'endpoint': ('url', 'model'), 'model': ('model',)}
