"""How often Python looks for garbage in a process of ours. Used by the command line, the API and the workers."""

import gc

# New objects before a look at them, and how many looks before one at the older ones.
LOADING = (50_000, 20, 50)
SERVING = (20_000, 10, 10)  # at the interpreter's 700 there was a look with every few posts


def while_loading() -> None:
    """Little of what a start makes is garbage: looking through it again and again was a fifth of every start."""
    gc.set_threshold(*LOADING)


def when_loaded() -> None:
    """What is there by now stays for ever: looking through it would hold up every request each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SERVING)
