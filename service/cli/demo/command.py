"""demo: the whole service on real tickets, with its own data folder, port and configuration."""

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import Progress

import migrations
from models.errors import TriageError
from service import embedded, settings, supervisor
from service.cli import ticketfile
from service.cli.common import notes, say
from service.cli.demo import tables
from service.cli.running import address, first_key, plan, prepare
from service.settings import DEMO_LLMS, PREFIX, Loaded

FOLDER = Path(".triage-demo")
BATCH = 100
AT_ONCE = 4
LOAD_S, WORK_S, COUNT_S = 120, 600, 120
KEPT = ("TRIAGE_LOG_LEVEL", "TRIAGE_LOG_FORMAT")


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    tickets: Annotated[int, typer.Option(min=1, max=1000, help="How many of the shipped tickets to post")] = 1000,
    leave: Annotated[bool, typer.Option("--exit", help="End when the results are printed, on a terminal too")] = False,
) -> None:
    """Runs the service on real tickets, prints what came of them, and on a terminal stays up until Ctrl-C."""
    from service.cli.demo import ollama  # slow to import

    stay = not leave and sys.stdout.isatty() and not os.environ.get("CI")
    _own_folder()
    rows = list(ticketfile.read(DEMO_LLMS / "tickets.jsonl"))[:tickets]
    with ollama.engine(FOLDER) as engine:
        loaded = _own_settings()
        say("Starting Postgres, Redis, the API and a worker ...")
        ended = supervisor.run(
            plan(loaded, prepare=_from_zero, log_dir=FOLDER / "log", cwd=FOLDER),
            say,
            lambda up: _job(up, loaded, rows, engine, stay),
        )
    if not (ended or stay):
        raise typer.Exit(130)  # nobody is to take a demo that was interrupted for one that has passed


def _own_folder() -> None:
    """The demo's own configuration: of the user's settings only those of the logs are read, and `.env` not at all."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in KEPT]:
        del os.environ[name]
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    for name in ("triage.yaml", "taxonomy.yaml"):
        shutil.copyfile(DEMO_LLMS / name, FOLDER / name)


def _own_settings() -> Loaded:
    return settings.load(None, config=FOLDER / "triage.yaml", data_dir=FOLDER, host="127.0.0.1", port=_free_port())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _from_zero(loaded: Loaded, url: str) -> None:
    """Every demo starts with an empty database, so that its figures are this run's alone."""
    own = embedded.running(FOLDER)
    if own is None or own.database_url != url:
        raise TriageError("The demo empties its database and will not touch one that is not its own.")
    if migrations.current(url) is not None:
        migrations.downgrade(url, "base")
    prepare(loaded, url)
    first_key(loaded, url)


def _job(up: supervisor.Service, loaded: Loaded, rows: list[dict[str, Any]], engine: str, stay: bool) -> None:
    key = (FOLDER / "key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address(loaded), headers=headers, timeout=30, trust_env=False) as client:
        _Demo(up, client, rows).run()
    tables.show_curl(address(loaded), FOLDER / "key", stay)
    say(engine)
    if stay:
        say("The service stays up: press Ctrl-C to end it.")
        up.watch()


@dataclass
class _Demo:
    """One pass of the shipped tickets through a running service, over HTTP as a helpdesk would do it."""

    up: supervisor.Service
    client: httpx.Client
    rows: list[dict[str, Any]]

    def run(self) -> None:
        with Progress(console=notes, transient=True) as bars:
            self._until_ready(bars)
            ids = self._post(bars)
            self._until_done(bars)
            self._judge(bars, ids)
            found = self._read(bars, ids)
            report = self._report(bars)
        fields = {name: len(field["labels"]) for name, field in self._get("/v1/taxonomy")["fields"].items()}
        tables.show(found, report, self._get("/v1/llms")["items"], fields)

    def _until_ready(self, bars: Progress) -> None:
        task = bars.add_task("Loading the llms", total=None)
        self._poll(LOAD_S, "The worker did not become ready", lambda: self._get("/readyz")["status"] == "ok")
        bars.remove_task(task)

    def _post(self, bars: Progress) -> list[str]:
        """Posts the tickets in batches, without their labels; their ids in order."""
        ids: list[str] = []
        for start in bars.track(range(0, len(self.rows), BATCH), description="Posting tickets"):
            part = [_as_posted(row) for row in self.rows[start : start + BATCH]]
            answer = self._send("/v1/tickets/batch", {"tickets": part})
            ids += [item["id"] for item in answer["items"]]
        return ids

    def _until_done(self, bars: Progress) -> None:
        task = bars.add_task("Classifying", total=len(self.rows))

        def done() -> bool:
            counts = self._get("/v1/report")["tickets"]
            bars.update(task, completed=counts["done"] + counts["failed"])
            return bool(counts["done"] + counts["failed"] >= len(self.rows))

        self._poll(WORK_S, "The tickets were not classified", done)

    def _judge(self, bars: Progress, ids: list[str]) -> None:
        """Posts the data set's labels as verdicts, for each field that a ticket has one of."""
        said = [(i, *pair) for i, row in zip(ids, self.rows, strict=True) for pair in row["label"].items()]
        self._each(bars, "Posting the true labels", said, self._verdict)

    def _verdict(self, said: tuple[str, str, str]) -> None:
        ticket_id, field, label = said
        self._send(f"/v1/tickets/{ticket_id}/verdicts", {"field": field, "label": label, "source": "dataset"})

    def _read(self, bars: Progress, ids: list[str]) -> list[dict[str, Any]]:
        return self._each(bars, "Reading results", ids, lambda ticket_id: self._get(f"/v1/tickets/{ticket_id}"))

    def _report(self, bars: Progress) -> dict[str, Any]:
        """With all that was posted: on a busy machine it takes longer to count than the report waits for it."""
        bars.add_task("Counting", total=None)
        found: dict[str, Any] = {}

        def counted() -> bool:
            found.update(self._get("/v1/report"))
            return bool(found["counted"]["behind_hours"] == 0)

        self._poll(COUNT_S, "The tickets were not counted", counted)
        return found

    def _each(self, bars: Progress, title: str, items: list[Any], do: Callable[[Any], Any]) -> list[Any]:
        """One request for each item, a few at once, so that the service need not wait for this program."""
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            return list(bars.track(pool.map(do, items), len(items), description=title))
        finally:
            pool.shutdown(cancel_futures=True)  # after a Ctrl-C nobody wants the rest

    def _poll(self, seconds: float, complaint: str, ready: Any) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            self.up.check()
            if time.monotonic() > deadline:
                raise TriageError(f"{complaint} within {seconds:.0f} s; see {FOLDER / 'log'}.")
            time.sleep(0.2)

    def _get(self, path: str) -> Any:
        return self._answer(self.client.get(path))

    def _send(self, path: str, body: dict[str, Any]) -> Any:
        return self._answer(self.client.post(path, json=body))

    def _answer(self, response: httpx.Response) -> Any:
        if response.is_error:
            raise TriageError(f"The service answered {response.status_code}: {response.text[:200]}")
        return response.json()


def _as_posted(row: dict[str, Any]) -> dict[str, Any]:
    given = {"external_id": row["id"], "body": row["body"], "language": row.get("language", "en"), "source": "demo"}
    return given | ({"subject": row["subject"]} if row.get("subject") else {})
