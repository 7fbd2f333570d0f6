"""Run by the tests as a process of its own: starts the servers of a data folder, prints their database, and waits."""

import signal
import sys
from pathlib import Path

from service.embedded import EmbeddedServers

servers = EmbeddedServers(Path(sys.argv[1]), progress=lambda _: None)
print(servers.start().database_url, flush=True)  # noqa: T201  the test waits for this line
signal.pause()
