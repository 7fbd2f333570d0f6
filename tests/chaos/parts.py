"""Every process of a Triage on two of each, and what can be done to one: kill, freeze, bring back. Used by storm.py."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from service.children import Child
from service.datadir import Urls
from service.embedded import EmbeddedServers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
APIS = WORKERS = 2
READY_S = 120.0
# At the end nothing waits for its open work, and whoever is frozen dies too when we are killed.
CALM = ((signal.SIGKILL, 10.0),)
CONFIG = """
taxonomy: {taxonomy}
engines: {{ollama: {{kind: ollama, url: "http://127.0.0.1:{port}", parallel: 4}}}}
llms:
  primary: {{engine: ollama, model: triage-primary, card: "demo:primary"}}
  fallback: {{engine: ollama, model: triage-fallback, card: "demo:fallback"}}
policy: {{primary: primary, fallback: fallback, shadow_rate: 0.2}}
"""


@dataclass
class Part:
    """One component. `start` brings it back after a kill; it returns when the component is on its way."""

    kind: str
    name: str
    child: Child
    start: Callable[[], None]
    port: int = 0
    frozen: list[psutil.Process] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.child.running() and not self.frozen

    def kill(self) -> None:
        assert self.child.process is not None
        self.child.process.kill()
        self.child.process.wait()

    def kill_a_backend(self) -> None:
        """One of Postgres's own processes: it then throws every session out and repairs itself."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._all()[-1].kill()

    def freeze(self) -> None:
        self.frozen = self._all()
        for process in self.frozen:
            _send(process, signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self.frozen:
            _send(process, signal.SIGCONT)
        self.frozen = []

    def _all(self) -> list[psutil.Process]:
        assert self.child.process is not None
        top = psutil.Process(self.child.process.pid)
        return [top, *top.children(recursive=True)]


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Parts:
    """All of them, started in order; everything lies in `folder`."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self.folder = folder
        self.servers = EmbeddedServers(folder / "data", say)
        self.say = say
        self.all: list[Part] = []

    def start_servers(self) -> Urls:
        urls = self.servers.start()
        for kind, server in zip(("postgres", "redis"), self.servers.servers, strict=True):
            self.all.append(Part(kind, kind, server.child, lambda server=server: server.start(self.say)))
        return urls

    def start_ours(self, urls: Urls) -> None:
        """The engine, the API processes and the workers, over a migrated database."""
        engine = free_port()
        config = CONFIG.format(taxonomy=ROOT / "taxonomy.yaml", port=engine)
        (self.folder / "triage.yaml").write_text(config)
        env = self._environment() | {
            "TRIAGE_DATABASE_URL": urls.database_url,
            "TRIAGE_REDIS_URL": urls.redis_url,
            "TRIAGE_CONFIG": str(self.folder / "triage.yaml"),
            "TRIAGE_QUEUE_LIMIT": "500",
        }
        self._add("engine", "engine", [str(HERE / "engine.py"), str(engine), str(self.folder)], env, engine)
        for number in range(1, APIS + 1):
            port = free_port()
            self._add("api", f"api {number}", [*TRIAGE, "serve"], env | {"TRIAGE_PORT": str(port)}, port)
        for number in range(1, WORKERS + 1):
            self._add("worker", f"worker {number}", [*TRIAGE, "worker"], env)
        for part in self.all:
            self._await(part)

    def _environment(self) -> dict[str, str]:
        """None of the user's own settings; and the packages that a checkout has beside the installed ones."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIAGE_")}
        temporary = self.folder / "tmp"
        temporary.mkdir()
        paths = [str(ROOT), str(ROOT / "tests" / "ollama"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return kept | {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(temporary)}

    def _add(self, kind: str, name: str, words: list[str], env: dict[str, str], port: int = 0) -> None:
        log = self.folder / f"{name.replace(' ', '-')}.log"
        child = Child(name, [sys.executable, *words], CALM, env=env, cwd=self.folder, log=log)
        child.start()
        self.all.append(Part(kind, name, child, child.start, port))

    def _await(self, part: Part) -> None:
        deadline = time.monotonic() + READY_S
        while part.port and not listens(part.port):
            if not part.child.running() or time.monotonic() > deadline:
                raise TimeoutError(f"{part.name} did not start: {part.child.ending()}.")
            time.sleep(0.1)

    def of(self, kind: str) -> list[Part]:
        return [part for part in self.all if part.kind == kind]

    def bring_back(self) -> None:
        """Whatever is frozen or dead goes on; from the main thread."""
        for part in self.all:
            part.thaw()
        for part in self.all:
            if not part.child.running():
                part.start()
        for part in self.all:
            self._await(part)

    def tracebacks(self) -> list[str]:
        """Names of our processes that have logged one: every fault has a sentence instead."""
        ours = [part for part in self.all if part.kind in ("api", "worker")]
        return [part.name for part in ours if part.child.log and b"Traceback" in part.child.log.read_bytes()]

    def stop(self) -> None:
        for part in self.all:
            part.thaw()
        for part in self.all:
            if part.kind not in ("postgres", "redis"):
                part.child.stop()
        self.servers.stop()


TRIAGE = ("-m", "service.cli")
