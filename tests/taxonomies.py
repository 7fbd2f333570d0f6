"""Parts of the demo's taxonomy, for tests whose tickets shall have one decision, or two."""

from models import taxonomy
from service.settings import DEMO_LLMS

CATEGORY = (DEMO_LLMS / "taxonomy.yaml").read_text().partition("  intent:")[0]
"""Its file with the first field alone."""


def demo(*fields: str) -> taxonomy.Taxonomy:
    """These fields of it."""
    whole = taxonomy.load(DEMO_LLMS / "taxonomy.yaml")
    return whole.model_copy(update={"fields_": {name: whole.fields_[name] for name in fields}})
