"""A small generic connection to bend, and the recipes as README shows them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.helpdesks import build
from service.helpdesks.generic import Generic

HERE = Path(__file__).parent
SECRET = "s3cr3t"  # of the published test vectors


@pytest.fixture
def payload() -> Callable[[str], bytes]:
    return lambda name: (HERE / "payloads" / name).read_bytes()


@pytest.fixture
def recipe() -> Callable[[str], dict[str, Any]]:
    return lambda name: yaml.safe_load((HERE / "recipes" / f"{name}.yaml").read_text())["connections"][0]


@pytest.fixture
def crm() -> dict[str, Any]:
    return {
        "name": "crm",
        "kind": "generic",
        "token": {"header": "X-Token", "secret_env": "CRM_TOKEN"},
        "map": {"external_id": "id", "body": "text"},
    }


@pytest.fixture
def adapter(crm: dict[str, Any]) -> Callable[..., Generic]:
    """Builds the small connection with more or other mappings."""

    def make(ignore_when: str | None = None, **mapping: str) -> Generic:
        crm["map"].update(mapping)
        made = build({**crm, "ignore_when": ignore_when}, {"CRM_TOKEN": SECRET})
        assert isinstance(made, Generic)
        return made

    return make
