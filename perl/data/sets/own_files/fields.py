"""The fields that the files of each kind of records may have."""

# The fields of each kind of records. If a kind has several sets, the first one is taken
# that contains all fields named in `columns` and whose columns are in the file.
FIELDS = {
    'text': (('text',), ('prompt', 'response')),
    'demonstrations': (('prompt', 'response'), ('messages',), ('prompt', 'completion')),
    'comparisons': (
        ('prompt', 'chosen', 'rejected'),
        ('prompt', 'completions'),
        ('chosen', 'rejected'),
    ),
    'ratings': (
        ('prompt', 'response', 'label'),
        ('messages', 'label'),
        ('prompt', 'completion', 'label'),
    ),
    'prompts': (('prompt',), ('messages',)),
}
# Fields that are read if the file has them.
OPTIONAL = {'comparisons': ('margin', 'preference')}
