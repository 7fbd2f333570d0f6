"""A running Triage over HTTP, with the key of the settings or of its data folder. Used by `import`."""

import time
from types import TracebackType
from typing import Any

import httpx

from models.errors import ConfigError, TriageError
from service.cli.common import local_address, visible
from service.settings import Settings

PAUSES_S = (1, 2, 4, 8, 15, 30)  # while the service is away for a moment
sleep = time.sleep


class Client:
    """As a context manager, so that its connection is closed."""

    def __init__(self, found: Settings):
        self.url = (found.public_url or local_address(found)).rstrip("/")
        self.met = False
        # A proxy of the environment is for other addresses than this machine's own.
        headers, proxies = {"Authorization": f"Bearer {_key(found)}"}, bool(found.public_url)
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=proxies)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.http.close()

    def get(self, path: str) -> Any:
        """The JSON there; raises TriageError for any other answer."""
        answer = self.send("GET", path)
        if answer.status_code != 200:
            raise refusal(answer)
        return read(answer)

    def post(self, path: str, body: str, **headers: str) -> httpx.Response:
        return self.send("POST", path, content=body.encode(), headers={"Content-Type": "application/json"} | headers)

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer. A service that was met and is away now (503, no connection) is asked again for a minute."""
        for pause in (*PAUSES_S, None):
            try:
                answer = self.http.request(method, path, **request)
                self.met = True
                if answer.status_code != 503:
                    return answer
                wanted = retry_after(answer)
            except httpx.TransportError:
                if not self.met:
                    raise TriageError(f"No Triage answers at {self.url}: start triage up, or mend {WHERE}.") from None
                wanted = 0
            if pause is not None:
                sleep(max(pause, wanted))
        raise TriageError(f"Triage at {self.url} has gone away; run the same command again when it is back.")


WHERE = "TRIAGE_PUBLIC_URL, TRIAGE_HOST and TRIAGE_PORT"


def _key(found: Settings) -> str:
    """TRIAGE_API_KEY, else the key that `up` wrote. No sentence repeats it."""
    file = found.data_dir / "key"
    if found.api_key is None and not file.is_file():
        raise ConfigError(f"There is no key: set TRIAGE_API_KEY to one ({file} does not exist).")
    key = (found.api_key.get_secret_value() if found.api_key else file.read_text(errors="replace")).strip()
    if not (key.isascii() and key.isprintable() and key):
        raise ConfigError(f"{'TRIAGE_API_KEY' if found.api_key else file} holds no key; see triage keys create.")
    return key


def retry_after(answer: httpx.Response) -> int:
    """The seconds that the service asks for, at most a minute."""
    asked = answer.headers.get("Retry-After", "")
    return min(60, int(asked)) if asked.isascii() and asked.isdigit() else 1


def refusal(answer: httpx.Response) -> TriageError:
    """An answer that cannot be used, as one sentence."""
    if answer.status_code == 401:
        return TriageError("Triage refuses the key: it is unknown or revoked. Set TRIAGE_API_KEY to a good one.")
    problem = read(answer)
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return TriageError(f"Triage answered {answer.status_code}: {visible(str(detail or answer.reason_phrase))}")


def read(answer: httpx.Response) -> Any:
    """The JSON of an answer; raises TriageError when it is none."""
    try:
        return answer.json()
    except ValueError:
        raise TriageError(f"What answers at {answer.url.host} is not Triage (status {answer.status_code}).") from None
