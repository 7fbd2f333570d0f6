"""Rows of the shipped tickets in a folder with the committed configuration, and the command line over them."""

import shutil

import pytest
from cli.conftest import triage  # noqa: F401 (a fixture)
from shipped import SHIPPED, write

from models import taxonomy
from models.llm.text import prepare
from service import settings
from service.config import Arm
from service.settings import DEMO_LLMS
from workers.classify import classify


@pytest.fixture
def folder(triage, tmp_path):  # noqa: F811
    """The folder that commands run in, with triage.yaml, taxonomy.yaml and 60 tickets in test.jsonl."""
    assert triage("init").code == 0
    write(tmp_path / "test.jsonl", SHIPPED[:60])
    return tmp_path


@pytest.fixture
def own(folder):
    """The primary's weights and card as own.gguf and own.json, which may be written to."""
    for suffix in ("gguf", "json"):
        shutil.copyfile(DEMO_LLMS / f"primary.{suffix}", folder / f"own.{suffix}")
    return folder / "own.json"


@pytest.fixture
def answers(llms):
    """What the primary says of some tickets: label and confidence."""

    def ask(tickets):
        vocabulary = taxonomy.load(DEMO_LLMS / "taxonomy.yaml")
        found = [classify(Arm(primary="primary"), llms, vocabulary, t["subject"], t["body"]) for t in tickets]
        assert all(prepare(t["subject"], t["body"]).text for t in tickets)
        return [(one["category"].decision.label, one["category"].decision.confidence) for one in found]

    return ask


@pytest.fixture
def loaded_policy(llms):
    """What the committed policy decides of a ticket."""
    policy = settings.load(config=DEMO_LLMS / "triage.yaml").config.policy
    vocabulary = taxonomy.load(DEMO_LLMS / "taxonomy.yaml")
    return lambda t: classify(policy, llms, vocabulary, t["subject"], t["body"])["category"].decision
