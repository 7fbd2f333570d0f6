"""Whatever stands in a YAML file of ours ends in one sentence that says where, with libyaml and without."""

import importlib.util

import pytest
import yaml
from pydantic import BaseModel

from models import yamlfile
from models.errors import ConfigError


class Shape(BaseModel):
    a: int
    b: list[dict[str, int]] = []


@pytest.fixture(params=["libyaml", "python"])
def read(request, tmp_path, monkeypatch):
    """Reads a text as a file, by a module of its own where PyYAML was built without libyaml."""
    module = yamlfile
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
        spec = importlib.util.spec_from_file_location("without_libyaml", yamlfile.__file__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

    def read(text):
        (tmp_path / "f.yaml").write_text(text)
        return module.read(tmp_path / "f.yaml", Shape)

    return read


def test_a_good_file_is_its_shape(read):
    base = "a: 1\nb: [&base {c: 2}, {<<: *base, d: 3}]"
    assert read(base).model_dump() == {"a": 1, "b": [{"c": 2}, {"c": 2, "d": 3}]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b: 1\na: 2026-13-01T00:00:00Z", "the value is no valid timestamp at line 2, column 4"),
        ("a: 2026-02-30", "the value is no valid timestamp at line 1, column 4"),
        ("a: 2026-01-01T00:00:00+99:99", "the value is no valid timestamp at line 1, column 4"),
        ("a: !!timestamp secret", "the value is no valid timestamp at line 1, column 4"),
        ("a: !!int secret", "the value is no valid int at line 1, column 4"),
        ("a: !!int ''", "the value is no valid int at line 1, column 4"),
        ("a: 0x_", "the value is no valid int at line 1, column 4"),
        ("a: " + "9" * 5000, "the value is no valid int at line 1, column 4"),
        ("a: !!float secret", "the value is no valid float at line 1, column 4"),
        ("a: !!bool secret", "the value is no valid bool at line 1, column 4"),
        ("a: 1\nb:\n  - c: 2\n    d: 3\n    c: 4", "the key 'c' stands twice at line 5, column 5"),
        ("? [a]\n: 1", "found unhashable key at line 1, column 3"),
        ("a: !!python/name:os.system secret", "could not determine a constructor for the tag"),
        ("a: " + "[" * 100_000, "it is nested deeper than 100 at line 1, column 103"),
        ("a: 1\nb: [secret, c: d: e", "at line 2, column"),
        ("a: \a", "characters are not allowed"),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_no_yaml_is_a_sentence_that_says_where_and_repeats_nothing(read, text, said):
    with pytest.raises(ConfigError) as caught:
        read(text)
    message = caught.value.message
    assert "f.yaml is not valid YAML: " in message
    assert said in message
    assert message.endswith(".")
    assert "\n" not in message
    assert "secret" not in message


def test_a_file_in_another_encoding_is_told_as_one(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes("a: é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"f\.yaml is not UTF-8 text; convert it first\.$"):
        yamlfile.read(path, Shape)
