"""`python -m service.cli`: how `up` starts its own processes, without depending on PATH."""

from service.cli import main

main()
