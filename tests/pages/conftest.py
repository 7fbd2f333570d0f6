"""One service for all tests of a file, and a client that acts as a browser: cookies, Origin, HTML wanted."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine
from website import Site, configured, opened

from service.datadir import Urls
from service.settings import Loaded
from workers.llms import Llms


@pytest.fixture(scope="module")
def module_loaded(module_database: Engine, servers: Urls, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return configured(module_database, servers.redis_url, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def site(module_loaded: Loaded, module_database: Engine, llms: Llms) -> Iterator[Site]:
    with opened(module_loaded, module_database, llms) as made:
        yield made


@pytest.fixture(scope="module")
def browser(site: Site) -> httpx.Client:
    """Signed in with every scope."""
    return site.browser("admin")
