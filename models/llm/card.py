"""The JSON card beside an llm's weights: what it is called, how it is asked and how its confidence is calibrated.

Called by workers (before an engine loads the file) and by the service (to name llm versions).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ConfigError, EngineDown
from models.llm import calibration
from models.llm.calibration import Calibration

LINEAR, LINEAR_CARD = "model.skops", "card.json"
"""The two files in the folder of a linear llm."""
LINEAR_FAMILY = "linear"


@dataclass(frozen=True)
class Card:
    """One llm version. `digest` is the SHA-256 of the weights' file, `codes` field -> label -> code.

    `served` are the digests under which Ollama servers hold these very weights; most of them rewrite a GGUF they take.
    An llm that was not trained on our prompts has a `header`, what they say of the labels, and a `budget`, the tokens
    of a ticket that it reads; without one it reads the bytes that it was trained on.
    """

    name: str
    path: Path
    digest: str
    family: str
    prompt_version: str
    codes: Mapping[str, Mapping[str, str]]
    calibration: Mapping[str, Calibration]
    demo: bool
    served: tuple[str, ...] = ()
    header: str = ""
    budget: int | None = None


def load_card(place: Path) -> Card:
    """The card beside the GGUF `place`, or in the folder of a linear llm, checked against the bytes of the weights.

    Given a card itself, that: its weights are elsewhere. Raises EngineDown when the weights are not there (they may
    come later), ConfigError when the card is missing, broken or another file's.
    """
    if place.suffix == ".json":
        return _parse(place.with_suffix(".gguf"), _read(place))
    folder = place.is_dir() or not place.suffix
    weights = place / LINEAR if folder else place
    if not weights.is_file():
        raise EngineDown(f"There is no {'linear llm' if folder else 'GGUF file'} at {place}.")
    card = _parse(weights, _read(place / LINEAR_CARD if folder else place.with_suffix(".json")))
    if sha256(weights) != card.digest:
        raise ConfigError(
            f"{weights.name} is not the file its card describes: the SHA-256 differs. "
            "Restore it or write its card anew."
        )
    return card


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no card at {path}: an llm needs one beside its weights, or a family in triage.yaml."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"The card {path} cannot be read: {error}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"The card {path} must be a JSON object.")
    return content


def _parse(gguf: Path, content: dict[str, Any]) -> Card:
    try:
        return Card(
            name=str(content["name"]),
            path=gguf,
            digest=str(content["digest"]),
            family=str(content["family"]),
            prompt_version=str(content["prompt_version"]),
            codes=_codes(content["codes"], shared=content["family"] == LINEAR_FAMILY),
            calibration=calibration.parse(content.get("calibration", {})),
            demo=content.get("demo") is True,
            served=tuple(map(str, content.get("served", ()))),
        )
    except KeyError as error:
        raise ConfigError(f"The card of {gguf.name} lacks {error}.") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"The card of {gguf.name} is broken: {error}.") from None


def _codes(content: dict[str, dict[str, str]], *, shared: bool) -> dict[str, dict[str, str]]:
    """The codes of a linear llm are its labels, which fields may share; an answer of tokens says no field."""
    codes = {field: {str(label): str(code) for label, code in labels.items()} for field, labels in content.items()}
    seen: dict[str, str] = {}
    for field, labels in codes.items():
        if not labels or len(set(labels.values())) < len(labels) or "" in labels.values():
            raise ValueError(f"field {field!r} needs a code of its own for each label")
        for code in labels.values():
            if not shared and code in seen:
                raise ValueError(f"the fields {seen[code]!r} and {field!r} share the code {code!r}")
            seen[code] = field
    return codes
