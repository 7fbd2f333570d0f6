"""One ticket through llms where no worker looks after them: a server may lose an llm in mid-run. Used by classify,
evaluate and calibrate.
"""

from models.errors import EngineDown
from models.taxonomy import Taxonomy
from service.config import Arm
from workers import classify as served
from workers.classify import FieldOutcome
from workers.llms import Llms


def classify(arm: Arm, llms: Llms, taxonomy: Taxonomy, subject: str, body: str) -> dict[str, FieldOutcome]:
    """As the service would; where an engine is down, its llms are loaded again and asked once more.

    Raises what keeps them from being loaded, or from answering then: an hour of asking is lost for no less.
    """
    try:
        return served.classify(arm, llms, taxonomy, subject, body)
    except EngineDown:
        for name in arm.llms:
            llms.all[name].load()
        return served.classify(arm, llms, taxonomy, subject, body)
