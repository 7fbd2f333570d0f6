"""What should become of a ticket, whatever is done to it: the model that Postgres is compared with."""

from dataclasses import dataclass, field

from workers.record import ATTEMPTS
from workers.sweep import MOST_LOST


@dataclass
class Life:
    """One ticket."""

    id: str
    content: str
    run: int = 1
    status: str = "queued"
    attempts: int = 0
    lost: int = 0
    lease: object = None
    expired: bool = False
    due: bool = True
    erased: bool = False
    runs: set[int] = field(default_factory=set)
    truths: dict[str, str] = field(default_factory=dict)
    verdicts: int = 0

    def queue(self, run):
        """As it comes, or comes again."""
        self.run, self.status, self.attempts, self.lost, self.lease, self.due = run, "queued", 0, 0, None, True

    def posted(self, content):
        """The same content changes nothing, other content is the next run, and an erased ticket stays erased."""
        duplicate = self.erased or content == self.content
        if not duplicate:
            self.content = content
            self.queue(self.run + 1)
        return duplicate

    def claimed(self, lease):
        assert (self.status, self.due) == ("queued", True)
        self.status, self.lease, self.expired = "working", lease, False

    def lose(self):
        """Its worker died."""
        self.lost += 1
        self.status, self.lease = "failed" if self.lost >= MOST_LOST else "queued", None

    def recorded(self):
        self.status, self.lease, self.lost = "done", None, 0
        self.runs.add(self.run)

    def refused(self):
        """Its worker has survived it."""
        self.attempts, self.lost = self.attempts + 1, 0
        self.status, self.lease, self.due = "failed" if self.attempts >= ATTEMPTS else "queued", None, False

    def given_back(self, due, error):
        """Without an error it was not begun, which says nothing of what it does to a worker."""
        self.lost = 0 if error else self.lost
        self.status, self.lease, self.due = "queued", None, due

    def again(self, statuses, run):
        if self.status in statuses and not self.erased:
            self.queue(run)

    def erase(self):
        self.erased, self.lease = True, None
        self.status = "failed" if self.status == "failed" else "done"

    def judged(self, label):
        """Whether the verdict is another one than the newest on this content."""
        new = self.truths.get(self.content) != label
        self.truths[self.content] = label
        self.verdicts += new
        return new
