"""`triage worker` whose clocks run faster: `python hurried.py SECONDS SECONDS`, for a call to Ollama and until a lease
is renewed."""

import sys
from functools import partial

from service.cli import main
from workers import building, claim
from workers.engines.ollama import Ollama

if __name__ == "__main__":
    deadline_s, renew_s = map(float, sys.argv[1:])
    building.Ollama = partial(Ollama, deadline_s=deadline_s)
    claim.RENEW_S = renew_s
    sys.argv[1:] = ["worker"]
    main()
