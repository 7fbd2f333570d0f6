"""The container files: linted by kept linters, and holding what the code needs. Building and running is not tested."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from service.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker" / "compose.yaml"
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "linter",
    [
        ["hadolint", "docker/Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker/compose.yaml"],
        ["compose-lint", "docker/compose.yaml"],
    ],
    ids=lambda command: command[0],
)
def test_linters_find_nothing(linter):
    done = subprocess.run([BIN / linter[0], *linter[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_in_the_containers_exists():
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name in ("api", "worker", "migrate"):
        assert {key for key in services[name]["environment"] if key.startswith(PREFIX)} <= known
        assert {secret.upper() for secret in services[name]["secrets"]} <= known


def test_only_the_api_has_a_port_and_only_on_loopback():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "api": ["127.0.0.1:8080:8080"]
    }


def test_the_package_in_the_image_has_everything_but_code_too(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "models", "service", "workers", "migrations"], cwd=ROOT, capture_output=True
    )
    assert set(tracked.stdout.decode().split()) <= names
