"""The label vocabulary: fields and their labels, read from YAML, kept in Postgres as immutable versions."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models import yamlfile
from models.errors import ConfigError, InvalidRequest
from models.tables import TaxonomyVersion

MOST_LABELS = 1000  # of one field; an llm that answers with one token has no codes for more
STORE_LOCK = 0x7461_786F  # any number that nothing else locks
OTHER = "other"  # the label that means "none of these": always reviewed
# By the digest of the stored document, which never changes under it. Workers rely on getting the same object again.
_read: dict[bytes, "Taxonomy"] = {}


class Label(BaseModel):
    """One queue. `automate_at` is the confidence from which it may be written back without a human.

    `critical` labels are watched one by one in reports; `write_as` is what a helpdesk calls the label, if not its id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.?-]{0,62}$")]
    title: str = ""
    description: str = ""
    examples: tuple[str, ...] = ()
    automate_at: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    critical: bool = False
    write_as: str | None = None


class TaxonomyField(BaseModel):
    """One question about a ticket and its possible answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str = ""
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=MOST_LABELS)]

    @model_validator(mode="after")
    def _labels_differ(self) -> "TaxonomyField":
        ids = [label.id for label in self.labels]
        doubles = sorted({i for i in ids if ids.count(i) > 1})
        if doubles:
            raise ValueError(f"label ids given twice: {', '.join(doubles)}")
        return self

    def label(self, label_id: str) -> Label | None:
        return next((label for label in self.labels if label.id == label_id), None)

    def named(self, text: str) -> Label | None:
        """The label with that id, else with that title: what people write into their files."""
        return self.label(text) or next((label for label in self.labels if label.title and label.title == text), None)


class Taxonomy(BaseModel):
    """All fields, `category` first, the others by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fields_: Annotated[dict[str, TaxonomyField], Field(alias="fields", min_length=1)]

    @field_validator("fields_")
    @classmethod
    def _in_order(cls, fields: dict[str, TaxonomyField]) -> dict[str, TaxonomyField]:
        """The same in a file and in the store, which keeps no order: pages and prompts begin with the first one."""
        return {name: fields[name] for name in sorted(fields, key=lambda name: (name != "category", name))}

    def field(self, name: str) -> TaxonomyField | None:
        return self.fields_.get(name)

    def document(self) -> bytes:
        """Canonical JSON: equal vocabularies have equal bytes."""
        return orjson.dumps(self.model_dump(by_alias=True), option=orjson.OPT_SORT_KEYS)


def load(path: Path) -> Taxonomy:
    """The taxonomy in a YAML file; raises ConfigError with one sentence that names file and place."""
    return yamlfile.read(path, Taxonomy)


def meant(fields: Collection[str]) -> str:
    """The field of a label that is given without one: `category`, or the only field; raises InvalidRequest else.

    Not the first of several: a stored vocabulary has no order of fields.
    """
    if "category" in fields:
        return "category"
    if len(fields) == 1:
        return next(iter(fields))
    raise InvalidRequest(f"A label must say of which field it is, as in {{{min(fields)}: ...}}: there is no category.")


def difference(before: "Taxonomy | None", after: Taxonomy) -> list[str]:
    """What changed, one line each: `+ field/label`, `- field/label`, `~ field/label` for other words or thresholds."""
    old, new = ({} if one is None else _labels(one) for one in (before, after))
    lines = [f"+ {name}" for name in new if name not in old] + [f"- {name}" for name in old if name not in new]
    return lines + [f"~ {name}" for name in new if name in old and old[name] != new[name]]


def _labels(taxonomy: Taxonomy) -> dict[str, Label]:
    return {f"{name}/{label.id}": label for name, field in taxonomy.fields_.items() for label in field.labels}


def store(session: Session, taxonomy: Taxonomy) -> tuple[int, list[str] | None]:
    """The version of this taxonomy, and what it changes if it was stored now; None when it is in force already.

    Going back to an older state is a new version too. Two processes that start together store one after the other.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": STORE_LOCK})
    active = session.scalars(select(TaxonomyVersion).order_by(TaxonomyVersion.version.desc()).limit(1)).first()
    before = None if active is None else Taxonomy.model_validate(active.document)
    # Read before it is compared: a document of an older release lacks keys that have a default now.
    if active is not None and before == taxonomy:
        return active.version, None
    version = 1 if active is None else active.version + 1
    document = taxonomy.document()
    digest = hashlib.sha256(document).digest()
    session.add(TaxonomyVersion(version=version, sha256=digest, document=orjson.loads(document)))
    return version, difference(before, taxonomy)


def active(session: Session) -> tuple[int, Taxonomy]:
    """The version in force; raises ConfigError when none was stored yet. A document is read once in a process."""
    newest = select(TaxonomyVersion.version, TaxonomyVersion.sha256).order_by(TaxonomyVersion.version.desc()).limit(1)
    row = session.execute(newest).first()
    if row is None:
        raise ConfigError("No taxonomy is stored yet; run triage migrate.")
    if row.sha256 not in _read:
        document = session.scalars(select(TaxonomyVersion.document).where(TaxonomyVersion.version == row.version))
        _read[row.sha256] = Taxonomy.model_validate(document.one())
    return row.version, _read[row.sha256]
