"""Is the process up, is the service ready, what does the API take: for people, load balancers and `up`."""

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from redis import RedisError

from models.errors import Unavailable
from service.auth.callers import AnyCaller
from service.queue import connect
from service.settings import FINGERPRINT

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """200 `ok`, or `degraded` with what is missing (tickets are taken all the same); 503 if Postgres takes none."""
    state = request.app.state
    try:
        missing = await state.readiness.missing()
        await state.door.last.check()
    except Unavailable as error:
        return JSONResponse({"status": "unavailable", "missing": [error.message]}, 503, {"Retry-After": "5"})
    url = state.loaded.settings.redis_url.get_secret_value()
    if not await to_thread.run_sync(_redis_answers, url, limiter=state.readiness.redis):
        missing.append("Redis does not answer: tickets are taken and classified, each a few seconds later.")
    found = {"status": "degraded" if missing else "ok", "missing": missing}
    return JSONResponse(found, headers={FINGERPRINT: state.loaded.fingerprint})


@router.get("/openapi.json", include_in_schema=False)
def describe(request: Request, caller: AnyCaller) -> Response:
    """What this API takes and gives, for any good key."""
    return JSONResponse(request.app.openapi())


def _redis_answers(url: str) -> bool:
    client = connect(url)
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
    finally:
        client.close()
