"""evaluate: how good llms and policies are on labelled tickets, on a terminal, as JSON, as one HTML file."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from models import taxonomy
from models.errors import ConfigError
from models.llm.card import sha256
from models.whole import whole
from service import settings
from service.cli import train as train_linear
from service.cli.common import say
from service.cli.evaluate import labelled, llm_names, remarks, tables
from service.config import Arm
from service.logs import configure
from service.settings import Loaded

if TYPE_CHECKING:
    from service.cli.evaluate.measuring import Fits
    from workers.llms import Llms

POLICY = "policy"


def register(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    test: Annotated[Path, typer.Option(help="JSONL or CSV with body and label (a text, or field -> label)")],
    vocabulary: Annotated[
        Path | None, typer.Option("--taxonomy", help="The labels [default: that of triage.yaml]")
    ] = None,
    llm: Annotated[
        list[str] | None, typer.Option(help="A name of triage.yaml or KIND:VALUE, as often as you like")
    ] = None,
    policy: Annotated[bool, typer.Option("--policy", help="Primary and fallback as served")] = False,
    train: Annotated[Path | None, typer.Option(help="What the llms learned from: test rows of it are named")] = None,
    calibrate: Annotated[Path | None, typer.Option(help="Fit temperatures on these tickets, for this time")] = None,
    target: Annotated[list[float] | None, typer.Option(help="Precision to certify [default: 0.95]")] = None,
    permute_codes: Annotated[
        int | None, typer.Option(help="Ask untrained llms in so many orders of the labels too", min=2, max=20)
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Train linear so often, each time with other folds, and show the spread", min=1, max=20)
    ] = 1,
    json: Annotated[Path | None, typer.Option(help="Write every figure to this file")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with diagrams to this file")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn", min=0)] = 0,
) -> None:
    """Accuracy, calibration, what can be automated and how fast, on tickets whose label is known."""
    given = {"test": test, "taxonomy": vocabulary, "train": train, "calibrate": calibrate}
    inputs = {name: path for name, path in given.items() if path is not None}
    _refuse_places([json, html], inputs.values())
    targets = _targets(target)
    if policy and train and llm_names.TRAINED in (llm or []):
        _refuse_two_of_a_name()
    if seeds > 1 and not (train and llm_names.TRAINED in (llm or [])):
        raise ConfigError("--seeds trains linear several times: say --llm linear and --train too.")
    with tempfile.TemporaryDirectory(prefix="triage-linear-") as place:
        more = {one: Path(place) / f"linear-{one}" for one in range(1, seeds)}
        learn = partial(_learned, Path(place) / "linear", vocabulary, train, test, more) if train else None
        loaded = llm_names.load(settings.settings(), llm or [], learn)
        configure(loaded.settings.model_copy(update={"log_level": "error"}))
        inputs["taxonomy"] = vocabulary or loaded.taxonomy_path
        arms = _arms(loaded, llm or [], policy=policy)
        again = [llm_names.load(settings.settings(), [llm_names.TRAINED], partial(Path, one)) for one in more.values()]
        found = _found(loaded, inputs, arms, targets, seed, permute_codes or 1, again)
    tables.show(found)
    _write(found, json, html)


def _refuse_two_of_a_name() -> None:
    if llm_names.TRAINED in settings.load().config.policy.llms:
        raise ConfigError(
            "With --train, linear is what learns now, and the policy asks the linear of triage.yaml: "
            "evaluate --policy by itself."
        )


def _learned(place: Path, vocabulary: Path | None, train: Path, test: Path, again: dict[int, Path]) -> Path:
    """`--llm linear --train F`: the folder of an llm that learned from F just now."""
    labels = vocabulary or settings.load().taxonomy_path
    labelled.read(test, taxonomy.load(labels))  # a broken one is told before the minutes of training
    train_linear.learn(labels, train, place, again)
    return place


def _arms(loaded: Loaded, names: Sequence[str], *, policy: bool) -> dict[str, Arm]:
    """Who is evaluated. Where nothing is named: the llms of the policy, each alone, and the policy."""
    served = loaded.config.policy
    if not names and not policy:
        names, policy = served.llms, served.fallback is not None
    alone = {name: Arm(primary=name, escalate_below=served.escalate_below) for name in names}
    return alone | ({POLICY: served} if policy else {})


def _asked(arms: dict[str, Arm]) -> list[str]:
    return list(dict.fromkeys(llm for arm in arms.values() for llm in arm.llms))


def _found(
    loaded: Loaded,
    inputs: dict[str, Path],
    arms: dict[str, Arm],
    targets: Sequence[float],
    seed: int,
    orders: int,
    again: Sequence[Loaded],
) -> dict[str, Any]:
    """Everything that is shown and written."""
    vocabulary = taxonomy.load(inputs["taxonomy"])
    rows, beside = labelled.read(inputs["test"], vocabulary)
    more = labelled.read(inputs["calibrate"], vocabulary)[0] if "calibrate" in inputs else []
    known = {name: labelled.texts(path) for name, path in inputs.items() if name in ("train", "calibrate")}
    overlaps = {name: labelled.overlap(rows, texts) for name, texts in known.items()}
    from service.cli.evaluate import measuring, permuting, seeding  # engines, numpy and scipy take seconds to load
    from service.cli.evaluate.asking import opened

    over = measuring.Measured(measuring.part(vocabulary, rows), rows, targets, seed)

    def refit(llms: "Llms", names: list[str]) -> "Fits":
        return measuring.refit(llms, names, over.taxonomy, more, sha256(inputs["calibrate"])) if more else {}

    with opened(loaded, _asked(arms), vocabulary) as llms:
        untrained = measuring.untrained(llms, arms, over.taxonomy)
        arms = {name: arm for name, arm in arms.items() if name not in untrained}
        asked = _asked(arms)
        alone = [name for name in arms if name != POLICY] if orders > 1 else []
        fits = refit(llms, asked)
        results = [one for name, arm in arms.items() for one in measuring.measure(llms, name, arm, over, fits)]
        unused = sorted(llms.calibrations.problems) + measuring.uncalibrated(llms, asked, over.taxonomy)
        permuted = permuting.permute(llms, alone, vocabulary, over, orders)
    seeds = seeding.spread(results, again, vocabulary, over, refit)
    return {
        "results": results,
        "files": {n: {"name": p.name, "sha256": sha256(p)} for n, p in inputs.items()},
        "rows": len(rows),
        "overlap": {name: {"n": len(names), "rows": names} for name, names in overlaps.items()},
        "seed": seed,
        "permuted": permuted,
        "seeds": seeds,
        "notes": [
            *(
                *remarks.left_out(untrained),
                *remarks.beside(beside),
                *remarks.overlapping(overlaps),
                *remarks.unanswered(results),
                *remarks.refused(results),
                *unused,
            ),
            *permuting.told(permuted, alone),
            *seeding.told(seeds),
        ],
    }


def _targets(given: Sequence[float] | None) -> Sequence[float]:
    if any(not 0.5 <= target < 1 for target in given or ()):
        raise ConfigError("--target is a share from 0.5 to below 1, like 0.95.")
    return given or [0.95]


def _refuse_places(places: Sequence[Path | None], inputs: Any) -> None:
    """Said at once and not after an hour of asking."""
    for place in places:
        if place is None:
            continue
        if not place.resolve().parent.is_dir():
            raise ConfigError(f"There is no folder {place.parent} to write {place.name} to.")
        if place.resolve() in [path.resolve() for path in inputs]:
            raise ConfigError(f"{place} is one of the files that are read: choose another name.")


def _write(found: dict[str, Any], json: Path | None, html: Path | None) -> None:
    """Each file appears whole or not at all."""
    if json is not None:
        with whole(json) as part:
            part.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
        say(f"Wrote {json}.")
    if html is not None:
        from service.pages import evaluation  # with the web framework, which no other form needs

        with whole(html) as part:
            part.write_text(evaluation.render(found), encoding="utf-8")
        say(f"Wrote {html}.")
