"""Celery's side of the work: thin tasks, one for each name in `service.queue.TaskName`."""

from celery import Celery

from service.queue import TaskName
from workers.runtime import Runtime


def register(app: Celery, runtime: Runtime) -> None:
    """Gives the application its tasks over one runtime."""

    # Not shared: this runtime is this application's alone, not that of every one made later.
    @app.task(name=TaskName.CLASSIFY_DUE, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def classify_due() -> None:
        """Work is due: which, only the table knows."""
        # Celery must not see an error: its own line about one repeats what the error says.
        runtime.attempt(runtime.work)
