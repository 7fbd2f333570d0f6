"""`triage` whose `up` starts again after a second what died, however often that was: here more dies than anywhere."""

from service import supervisor
from service.cli import main

if __name__ == "__main__":
    supervisor.LONGEST_PAUSE = 1.0
    main()
