"""Parts of the demo's taxonomy, for tests that store one."""

from models import taxonomy
from service.settings import DEMO_LLMS


def demo(*fields: str) -> taxonomy.Taxonomy:
    """These fields of it."""
    whole = taxonomy.load(DEMO_LLMS / "taxonomy.yaml")
    return whole.model_copy(update={"fields_": {name: whole.fields_[name] for name in fields}})
