"""calibrate: an llm's temperatures from labelled tickets, and its priors from any, or the temperatures of a policy."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models import taxonomy
from models.errors import ConfigError
from models.llm import calibration
from models.llm.calibration import Calibration
from models.llm.card import LINEAR_CARD, sha256
from models.taxonomy import Taxonomy
from models.whole import whole
from service import settings
from service.cli.common import say
from service.cli.evaluate import labelled, llm_names
from service.logs import configure
from service.settings import DEMO_LLMS, Loaded

if TYPE_CHECKING:
    from service.cli.calibrate.fitting import Recalibrated
    from workers.llm import Llm


def register(app: typer.Typer) -> None:
    app.command()(calibrate)


def calibrate(
    data: Annotated[Path, typer.Option(help="Labelled tickets that the llm was not trained on")],
    llm: Annotated[str | None, typer.Option(help="A name of triage.yaml, or KIND:VALUE")] = None,
    policy: Annotated[bool, typer.Option("--policy", help="The policy instead of one llm")] = False,
    arm: Annotated[str | None, typer.Option(help="With --policy: an arm instead, as EXPERIMENT.a")] = None,
    out: Annotated[Path | None, typer.Option(help="With --policy: the file [default: as triage.yaml names it]")] = None,
    vocabulary: Annotated[
        Path | None, typer.Option("--taxonomy", help="The labels [default: that of triage.yaml]")
    ] = None,
) -> None:
    """Fits the temperature that makes confidence true: an llm's, or those of a policy's decisions.

    Of an llm that Triage did not train, tickets without labels show what it prefers whatever a ticket says.
    """
    if policy == (llm is not None) or (not policy and (arm or out)):
        raise ConfigError("Say --llm NAME, or --policy (and only then --arm and --out).")
    loaded = llm_names.load(settings.settings(), [llm] if llm else [])
    configure(loaded.settings.model_copy(update={"log_level": "error"}))
    labels = taxonomy.load(vocabulary or loaded.taxonomy_path)
    if llm is not None:
        _one(loaded, llm, data, labels)
    else:
        _policy(loaded, arm, data, labels, out)


def _one(loaded: Loaded, llm: str, data: Path, labels: Taxonomy) -> None:
    stock = loaded.config.llms[llm].family is not None
    place = _file(loaded, llm) if stock else _card(loaded, llm)
    rows, _ = labelled.read(data, labels, bare_too=stock)
    from service.cli.calibrate.fitting import recalibrate
    from service.cli.evaluate.asking import opened  # engines, numpy and scipy take seconds to load
    from service.cli.evaluate.measuring import part, refuse_untrained

    asked = labels if stock else part(labels, rows)
    with opened(loaded, [llm], labels) as llms:
        refuse_untrained(llms, asked)
        if not stock:
            _refuse_others(llms.all[llm], asked)
        found = recalibrate(llms, llm, asked, rows, sha256(data))
    for field, one in found.items():
        say(_told(llm, field, one))
    made = {field: one.made for field, one in found.items() if one.made is not None}
    if not made:
        raise typer.Exit(1)
    if stock:
        calibration.write(place, sha256(data), made)
        say(f"Wrote {place}. Workers read it when they start, where llms.{llm} has calibration: {place.name}.")
    else:
        _note(place, made)


def _policy(loaded: Loaded, name: str | None, data: Path, labels: Taxonomy, out: Path | None) -> None:
    arm = loaded.config.arms.get(f"experiments.{name}" if name else "policy")
    if arm is None:
        raise ConfigError(f"There is no arm {name!r} in triage.yaml: an arm is EXPERIMENT.a or EXPERIMENT.b.")
    if arm.fallback is None:
        raise ConfigError(f"Only {arm.primary} is asked there: triage calibrate --llm {arm.primary} is for one llm.")
    place = out or loaded.folder / (arm.calibration or f"{name or 'policy'}.json")
    rows, _ = labelled.read(data, labels)
    from service.cli.calibrate import policy_fit  # engines, numpy and scipy take seconds to load
    from service.cli.evaluate.asking import opened
    from service.cli.evaluate.measuring import part, refuse_untrained

    asked = part(labels, rows)
    with opened(loaded, [arm.primary, arm.fallback], labels) as llms:
        refuse_untrained(llms, asked)
        found = policy_fit.fit(llms, arm, asked, rows)
    if not found:
        say("No temperature was accepted, and nothing is written.")
        raise typer.Exit(1)
    policy_fit.write(place, sha256(data), found)
    say(f"Wrote {place}. Workers read it when they start, where triage.yaml has calibration: {place.name}.")


def _card(loaded: Loaded, name: str) -> Path:
    """The card to write; a shipped one stays as it is."""
    place = loaded.model_path(name)
    card = place / LINEAR_CARD if place.is_dir() else place.with_suffix(".json")
    if DEMO_LLMS in card.resolve().parents:
        raise ConfigError(
            f"The card of {name} is shipped and stays as it is: copy it and its GGUF beside triage.yaml first."
        )
    return card


def _file(loaded: Loaded, name: str) -> Path:
    """Where the calibration of an llm without a card stands."""
    return loaded.folder / (loaded.config.llms[name].calibration or re.sub(r"[^\w.-]+", "-", name) + ".json")


def _refuse_others(llm: "Llm", asked: Taxonomy) -> None:
    """A temperature of other weights or over other labels would not count when the llm serves."""
    assert llm.card is not None  # noqa: S101 (it is loaded)
    assert llm.wanted is not None  # noqa: S101
    if llm.card.digest != llm.wanted.digest and llm.engine.kind == "openai":
        raise ConfigError(f"{llm.name} is served as {llm.card.digest}: write that into its card, under served, first.")
    if llm.card.digest != llm.wanted.digest:
        raise ConfigError(
            f"What is served as {llm.name} is not what its card describes: run triage llm create {llm.name} first."
        )
    for name, field in asked.fields_.items():
        beside = sorted(llm.card.codes[name].keys() - {label.id for label in field.labels})
        if beside:
            raise ConfigError(
                f"The llm {llm.name} knows labels of field {name} that the taxonomy lacks ({', '.join(beside[:5])}): "
                "a temperature over fewer labels would not count."
            )


def _note(card: Path, made: Mapping[str, Calibration]) -> None:
    """The card with what was accepted, whole or not at all."""
    content = json.loads(card.read_text(encoding="utf-8"))
    fits = {field: one.document() for field, one in made.items()}
    content["calibration"] = content.get("calibration", {}) | fits
    with whole(card) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _told(llm: str, field: str, one: "Recalibrated") -> str:
    fit, made = one.fit, one.made
    prior = f"the prior of {made.n:,} tickets is written as {made.id}; nothing is automated" if made else ""
    if fit is None:
        return f"{llm}, {field}: {prior}."
    seen = f"NLL of unseen tickets {fit.before:.4f} before, {fit.after:.4f} after, n {fit.n}"
    if made is None or made.temperature is None:
        kept = prior or "the card stays as it is"
        return f"{llm}, {field}: refused, T {fit.temperature:.3f} does not help ({seen}); {kept}."
    return f"{llm}, {field}: T {fit.temperature:.3f} ({seen}), written as {made.id}."
