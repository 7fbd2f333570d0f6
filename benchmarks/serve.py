"""Serves the yardstick or the tutorial with the web server of the product: `python -m benchmarks.serve APP PORT`.

Started by intake.py.
"""

import sys

import uvicorn


def main(app: str, port: int) -> None:
    """Serves until SIGTERM."""
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", ws="none", log_config=None, access_log=False
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
