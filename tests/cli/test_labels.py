"""Names of classes."""

import pytest

from keras_explain.cli import labels
from keras_explain.cli.failures import CommandError
from keras_explain.cli.labels import Labels


@pytest.mark.parametrize(
    "text",
    [
        "cat\n\n dog \nhot dog\n",
        "\ufeffcat\r\ndog\r\nhot dog\r\n",
        '["cat", "dog", "hot dog"]',
        '{"2": "hot dog", "0": "cat", "1": "dog"}',
        '{"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "hot dog"]}',
    ],
)
def test_files(tmp_path, text):
    path = tmp_path / "labels"
    path.write_bytes(text.encode())
    assert labels.read(path).names == ("cat", "dog", "hot dog")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"[1, 2", "no JSON list"),
        (b'{"0": "cat", "2": "dog"}', "no JSON list"),
        (b'{"cat": 0}', "no JSON list"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_files_that_are_none(tmp_path, content, said):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=said):
        labels.read(path)


def test_a_class_by_number_or_name():
    known = Labels(("tabby_cat", "dog", "crane", "crane"))
    assert known.index("3") == 3
    assert known.index("Tabby  Cat") == 0
    assert known.text(1) == "dog"
    assert Labels().text(7) == "class 7"
    with pytest.raises(CommandError, match="Pass a number: 2, 3"):
        known.index("crane")
    with pytest.raises(CommandError, match="Near names: 'tabby_cat'"):
        known.index("cat")
    with pytest.raises(CommandError, match="Near names: 'dog'"):
        known.index("dgo")
