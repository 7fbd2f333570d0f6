"""Declaring connections: each mistake stops the start with a sentence that names the connection and the key."""

from typing import Any

import pytest

from models.errors import ConfigError
from service.helpdesks import build, build_all

ENV = {"CRM_TOKEN": "hunter2", "CRM_SECRET": "hunter3"}
SIGNATURE = {"scheme": "hmac-sha256", "encoding": "hex", "header": "X-Sig", "secret_env": "CRM_SECRET"}


def problem(config: dict[str, Any], environ: dict[str, str] = ENV) -> str:
    with pytest.raises(ConfigError) as error:
        build(config, environ)
    assert "hunter" not in error.value.message
    assert "\n" not in error.value.message
    return error.value.message


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"map": {"external_id": "a b", "body": "x"}}, "map.external_id: not JMESPath: Unexpected token"),
        ({"map": {"external_id": "id", "body": ""}}, "map.body: not JMESPath: "),
        ({"map": {"external_id": "id", "body": 5}}, "map.body: must be a JMESPath expression in quotes."),
        ({"map": {"external_id": "id", "body": "[?size(@)]"}}, "map.body: JMESPath has no function size()."),
        ({"map": {"external_id": "id"}}, "map.body: Field required."),
        ({"map": {"external_id": "id", "body": "x", "tags": "y"}}, "map.tags: unknown key."),
        ({"ignore_when": "a = b"}, "ignore_when: not JMESPath: "),
        ({"secret": "hunter2"}, "secret: unknown key."),
        ({"token": {"header": "X-Token", "secret_env": "hunter-2"}}, "token.secret_env: String should match"),
        (
            {"token": None, "signature": {**SIGNATURE, "scheme": "md5"}},
            "signature.scheme: Input should be 'hmac-sha256'",
        ),
        ({"token": None, "signature": {**SIGNATURE, "max_age_s": 0}}, "signature.max_age_s: Input should be greater"),
        ({"token": None}, "give exactly one of signature and token."),
        ({"signature": SIGNATURE}, "give exactly one of signature and token."),
    ],
)
def test_a_mistake_is_named(crm: dict[str, Any], change: dict[str, Any], sentence: str) -> None:
    message = problem({**crm, **change})
    assert message.startswith("connection 'crm': ")
    assert sentence in message


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a" * 64, "ü", None])
def test_a_name_must_fit_into_an_address(crm: dict[str, Any], name: str | None) -> None:
    assert "name: " in problem({**crm, "name": name})


@pytest.mark.parametrize("kind", ["zendeks", None, ["generic"]])
def test_an_unknown_kind_lists_the_known_ones(crm: dict[str, Any], kind: Any) -> None:
    assert problem({**crm, "kind": kind}) == "connection 'crm': kind must be one of: generic."


@pytest.mark.parametrize("environ", [{}, {"CRM_TOKEN": ""}])
def test_a_missing_secret_names_its_variable(crm: dict[str, Any], environ: dict[str, str]) -> None:
    assert problem(crm, environ) == (
        "connection 'crm': the environment variable CRM_TOKEN (token.secret_env) is not set; "
        "put the shared secret there."
    )


def test_connections_are_found_by_name_and_names_are_unique(crm: dict[str, Any]) -> None:
    assert list(build_all([crm, {**crm, "name": "shop"}], ENV)) == ["crm", "shop"]
    assert build_all([], ENV) == {}
    with pytest.raises(ConfigError, match="connection 'crm' is declared twice"):
        build_all([crm, crm], ENV)
