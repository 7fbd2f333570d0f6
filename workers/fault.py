"""What an error holds against the ticket that it came with. Used by `settle`, and by `suspicion`, which doubts it."""

from models.errors import EngineDown, EngineError, TriageError


def mistake(error: BaseException) -> bool:
    """Whether it is a mistake in our own code, which the log has to tell."""
    return not isinstance(error, TriageError)


def fault(error: BaseException) -> str | None:
    """The sentence for the ticket's row; None where the error is not the ticket's.

    A mistake of ours that a ticket brings out is the ticket's as well: it must not come back for ever.
    """
    if mistake(error):
        return f"The worker failed with {type(error).__name__}; its log has the details."
    if isinstance(error, EngineError) and not isinstance(error, EngineDown):
        return error.message
    return None
