"""What is weak in a label vocabulary, and what to do about it. Called by `triage taxonomy lint`. Pure.

Needs scikit-learn, 100 MB: imported where a command asks for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sklearn.feature_extraction.text import TfidfVectorizer

from models.taxonomy import Label, Taxonomy, TaxonomyField

ALIKE = 0.6  # above it, pairs of real vocabularies differ in a word or two: "verify my identity", "why verify identity"
PAIRS_SHOWN = 5
FEW_EXAMPLES = 3
MANY_LABELS = 60
USABLE = 0.95  # of a GPU; the driver and the screen have the rest


Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One weakness, or a fact to act on: how bad, where, what it is, and what to do."""

    level: Level
    place: str
    what: str
    do: str


@dataclass(frozen=True, slots=True)
class Context:
    """How many tokens an llm must hold at once: its label lists' `labels` (about), a ticket and the question: `needed`.

    `given` is what its server has set, `longest` what it was trained for; `gib` what weights, KV of all `slots` and
    buffers take, `kv_gib` of it the KV. None is what nobody knows.
    """

    labels: int
    needed: int
    slots: int
    given: int | None = None
    longest: int | None = None
    kv_gib: float | None = None
    gib: float | None = None

    @property
    def held(self) -> int:
        """The tokens of each slot."""
        return self.given or self.needed


@dataclass(frozen=True, slots=True)
class Asked:
    """One llm that policy or experiments ask. `codes` is field -> label -> code, as far as it has codes.

    An llm that was not trained on the labels is `zero_shot`: its codes are made for them, `most` in a field. Why no
    codes can be had for it stands in `broken`.
    """

    name: str
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    zero_shot: bool = False
    most: int | None = None
    broken: str | None = None
    context: Context | None = None


def lint(taxonomy: Taxonomy, llms: Sequence[Asked] = (), vram_gib: float | None = None) -> list[Finding]:
    """All findings, errors first."""
    found = [finding for name, one in taxonomy.fields_.items() for finding in _field(name, one)]
    found += [finding for llm in llms for finding in _llm(taxonomy, llm)]
    found += _memory([llm for llm in llms if llm.context is not None], vram_gib)
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _field(name: str, field: TaxonomyField) -> Iterator[Finding]:
    yield from _described(name, field)
    yield from _exemplified(name, field)
    for a, b, score in closest(field):
        if score >= ALIKE:
            what = f"{a} and {b} read alike ({score:.2f} of 1)"
            yield Finding("warning", name, what, "say in their descriptions what tells them apart, or make them one")


def _described(name: str, field: TaxonomyField) -> Iterator[Finding]:
    bare = [label.id for label in field.labels if not label.description]
    if bare:
        yield Finding("warning", name, f"no description: {_some(bare)}", "say in one sentence what belongs there")


def _exemplified(name: str, field: TaxonomyField) -> Iterator[Finding]:
    few = [label.id for label in field.labels if len(label.examples) < FEW_EXAMPLES]
    if few:
        what = f"fewer than {FEW_EXAMPLES} examples: {_some(few)}"
        yield Finding("warning", name, what, "add real tickets as examples, or draft them with triage taxonomy init")


def _llm(taxonomy: Taxonomy, llm: Asked) -> Iterator[Finding]:
    place = f"llms.{llm.name}"
    if llm.broken is not None:
        yield Finding("error", place, llm.broken.rstrip("."), "mend it, and see what triage doctor says")
        return
    for name, one in taxonomy.fields_.items():
        yield from (*_many(name, one, llm), *_mistaken(name, one, llm)) if llm.zero_shot else _codes(name, one, llm)
    if llm.context is not None:
        yield from _context(place, llm.context, zero_shot=llm.zero_shot)


def _codes(name: str, labels: TaxonomyField, llm: Asked) -> Iterator[Finding]:
    missing = [label.id for label in labels.labels if label.id not in llm.codes.get(name, {})]
    if missing:
        what = f"the llm {llm.name} has no code for {_some(missing)}"
        yield Finding("error", name, what, "train it on them, use another llm, or take them out")


def _many(name: str, labels: TaxonomyField, llm: Asked) -> Iterator[Finding]:
    n = len(labels.labels)
    if llm.most is not None and n > llm.most:
        what = f"{n} labels, and the llm {llm.name} can have codes for {llm.most}: its engine lists 20 tokens at most"
        yield Finding("error", name, what, "ask for a coarser field, or use llamacpp or a linear llm")
    elif n > MANY_LABELS:
        what = f"{n} labels are many for the llm {llm.name}, which was not trained on them"
        do = "train a linear llm on labelled tickets (triage train linear), or ask for a coarser field first"
        yield Finding("warning", name, what, do)


def _mistaken(name: str, labels: TaxonomyField, llm: Asked) -> Iterator[Finding]:
    """A label called B may have the code A, and another one B: then an llm that means the first says B."""
    meant = {code: label for label, code in llm.codes.get(name, {}).items()}
    for label in labels.labels:
        for own in dict.fromkeys((label.id, label.title)):
            if meant.get(own, label.id) != label.id:
                what = f"{label.id} is called like the code {own} that the llm {llm.name} has for {meant[own]}"
                yield Finding("warning", name, what, "give it a title of more than two letters")


def _context(place: str, context: Context, *, zero_shot: bool) -> Iterator[Finding]:
    lists = f"label lists of about {context.labels:,} tokens, a ticket and the question" if zero_shot else "its prompts"
    do = f"set PARAMETER num_ctx {context.needed} in its Modelfile and create it anew"
    if context.longest is not None and context.needed > context.longest:
        what = f"{lists} need a context of {context.needed:,} tokens, and it was trained for {context.longest:,}"
        yield Finding("error", place, what, "shorten descriptions and examples, split the field, or use another llm")
        return
    if context.given is None:
        yield Finding("note", place, f"{lists} need a context of {context.needed:,} tokens", do)
    elif context.given < context.needed:
        what = f"{lists} need a context of {context.needed:,} tokens, and it has {context.given:,}"
        yield Finding("error", place, what, do)


def _memory(llms: Sequence[Asked], vram_gib: float | None) -> Iterator[Finding]:
    """All of them together: an llm that pushes another out is not used."""
    sizes = {llm.name: llm.context for llm in llms if llm.context is not None}
    for name, one in sizes.items():
        if one.kv_gib is None or one.gib is None:
            what = f"nobody knows what {one.slots} slots of {one.held:,} tokens take of the GPU"
            do = "have it in a running Ollama and lint again, or use the model of a recipe"
            yield Finding("note", f"llms.{name}", what, do)
    known = {name: one for name, one in sizes.items() if one.gib is not None}
    if known:
        yield _fits(known, vram_gib)


def _fits(known: Mapping[str, Context], vram_gib: float | None) -> Finding:
    parts = [
        f"{name} {one.gib:.1f} GiB ({one.kv_gib:.2f} of it for {one.slots} slots of {one.held:,} tokens)"
        for name, one in known.items()
    ]
    total = sum(one.gib or 0.0 for one in known.values())
    what = f"memory: {', '.join(parts)}, {total:.1f} GiB in all"
    if vram_gib is None:
        return Finding("note", "llms", f"{what}, of a GPU of unknown size", "say its size with --vram-gib")
    if total <= vram_gib * USABLE:
        return Finding("note", "llms", f"{what}, of {vram_gib:g} GiB", "nothing: that fits")
    do = "use fewer slots (engines.parallel), a smaller llm or quantisation, or keep only one of them"
    return Finding("warning", "llms", f"{what}, more than {USABLE:.0%} of {vram_gib:g} GiB", do)


def closest(field: TaxonomyField, most: int = PAIRS_SHOWN) -> list[tuple[str, str, float]]:
    """The label pairs whose words are most alike: cosine of TF-IDF over words, 0 to 1."""
    weights = TfidfVectorizer(sublinear_tf=True).fit_transform([_words(o) for o in field.labels])
    alike = (weights @ weights.T).toarray()
    ids = [label.id for label in field.labels]
    pairs = [(ids[i], ids[j], float(alike[i, j])) for i in range(len(ids)) for j in range(i)]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


def _words(label: Label) -> str:
    return " ".join((label.id.replace("_", " ").replace("-", " "), label.title, label.description, *label.examples))


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
