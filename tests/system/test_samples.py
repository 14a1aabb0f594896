from perl.system import samples


def test_no_file_is_no_samples(tmp_path):
    assert samples.read(tmp_path / 'no') == []


def test_samples_of_a_repeated_step_give_way(tmp_path):
    def add(rows):
        samples.append(tmp_path, rows)

    add([{'step': 1, 'response': 'a'}])
    add([{'step': 2, 'response': 'b'}, {'step': 2, 'response': 'c'}])
    add([{'step': 2, 'response': 'd'}])
    add([{'response': 'last\u2028line\n'}])
    add([{'response': 'last\u2028again\n'}])
    texts = [row['response'] for row in samples.read(tmp_path)]
    assert texts == ['a', 'd', 'last\u2028again\n']


def test_samples_after_half_a_line(tmp_path):
    (tmp_path / 'samples.jsonl').write_text('{"step": 1}\n{"st')
    samples.append(tmp_path, [{'step': 2}])
    assert samples.read(tmp_path) == [{'step': 1}, {'step': 2}]
