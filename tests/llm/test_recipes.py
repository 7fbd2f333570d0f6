"""Recipes: the snippets load, the Modelfiles parse, memory is by the formula, and the README's table says the same."""

import re
from pathlib import Path

import pytest
import yaml

from models.llm import memory
from service.cli.llm.ollama_admin import PARAMETERS
from service.config import read_config

ROOT = Path(__file__).resolve().parents[2]
KNOWN = memory.recipes()
README = (ROOT / "README.md").read_text()
TABLE = README.partition("<!-- chooser -->")[2].partition("<!-- end of chooser -->")[0]
each = pytest.mark.parametrize("key", KNOWN.recipes)
each_cloud = pytest.mark.parametrize("key", KNOWN.clouds)


def modelfile(key):
    """The model that it starts from, and its parameters as YAML reads them."""
    lines = [line for line in (memory.FOLDER / key / "Modelfile").read_text().splitlines() if not line.startswith("#")]
    words = [line.split(" ") for line in lines]
    assert [one[0] for one in words] == ["FROM", *["PARAMETER"] * (len(words) - 1)]
    assert {len(one) for one in words[1:]} == {3}
    return words[0][1], {name: yaml.safe_load(value) for _, name, value in words[1:]}


@each
def test_memory_is_what_the_formula_says(key):
    one = KNOWN.recipes[key]
    bits = KNOWN.bits[one.quantisation]
    weights = one.shape.parameters * bits / 8 / 2**30
    kv = 2 * one.shape.layers * one.shape.kv_heads * one.shape.head_dim * 2 * one.num_ctx * one.slots / 2**30
    assert one.memory.weights_gib == round(weights, 2) == round(one.shape.weights_gib(bits), 2)
    assert one.memory.kv_gib == round(kv, 2) == round(one.shape.kv_gib(one.num_ctx, one.slots), 2)
    assert one.memory.gpu == memory.card(weights, kv)


@each
def test_a_modelfile_sets_what_triage_relies_on(key):
    one = KNOWN.recipes[key]
    base, parameters = modelfile(key)
    assert base == one.ollama
    assert parameters == PARAMETERS | {"num_ctx": one.num_ctx}
    assert one.num_ctx <= one.shape.longest
    assert one.num_ctx % memory.STEP == 0
    assert KNOWN.named(base) is one
    assert KNOWN.named(f"triage-{key}:latest") is one


@each
def test_a_snippet_is_a_triage_yaml(key):
    found, one = read_config(memory.FOLDER / key / "triage.yaml"), KNOWN.recipes[key]
    (llm,) = found.llms.values()
    assert (llm.model, llm.family) == (f"triage-{key}", one.family)
    assert found.engines[llm.engine].kind == "ollama"
    assert found.engines[llm.engine].parallel == one.slots


@each_cloud
def test_a_cloud_s_snippet_is_one_too(key):
    found = read_config(memory.FOLDER / key / "triage.yaml")
    (llm,) = found.llms.values()
    assert (llm.model, llm.family) == (KNOWN.clouds[key].model, "plain")
    assert found.engines[llm.engine].kind == "openai"
    assert found.engines[llm.engine].spend_limit_per_day


def test_every_folder_is_a_recipe_and_every_licence_is_explained():
    folders = {path.name for path in memory.FOLDER.iterdir() if path.is_dir()}
    assert folders == KNOWN.recipes.keys() | KNOWN.clouds.keys()
    assert {one.licence for one in KNOWN.recipes.values()} <= KNOWN.licences.keys()
    assert KNOWN.named("mistral:latest") is None


def test_the_readme_s_chooser_says_what_the_recipes_say():
    rows = [re.split(r" *\| *", line.strip("| ")) for line in TABLE.strip().splitlines()[2:]]
    ran = {True: "yes", False: "no"}
    local = [
        [
            f"[{one.title}](models/llm/recipes/{key})",
            f"{one.memory.gpu} GB",
            f"{one.memory.weights_gib:.1f} ({one.quantisation}) + {one.memory.kv_gib:.1f}",
            one.licence,
            "nowhere",
            ran[one.run_here],
        ]
        for key, one in KNOWN.recipes.items()
    ]
    clouds = [
        [f"[{one.title}](models/llm/recipes/{key})", "none", "none", one.licence, one.data, ran[one.run_here]]
        for key, one in KNOWN.clouds.items()
    ]
    assert rows == local + clouds


@pytest.mark.parametrize(("tokens", "context"), [(0, 1024), (192, 1024), (193, 2048), (3264, 4096), (3265, 5120)])
def test_a_context_holds_labels_ticket_and_question(tokens, context):
    assert memory.num_ctx(tokens) == context


def test_no_card_is_large_enough_for_everything():
    assert memory.card(74.5, 0.4) == 80
    assert memory.card(74.5, 0.6) is None
