"""A ticket's subject and body -> the text an llm may read: cleaned, cut to a budget, harmless.

Called by workers and finetune. Pure. Every step is linear or bounded: texts come from strangers, and a cleaner that is
slow on one text stops a worker.
"""

import re
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser

MAX_CHARS = 20_000
# Lexbor is quadratic in misnested tags: 20,000 hostile characters take 0.4 s, 1,000 tags at most 0.05 s.
MAX_TAGS = 1_000
BUDGET = 1_500

_HTML = re.compile(
    r"<(?:!doctype|html|head|body|div|p|br|span|table|tr|td|ul|ol|li|a|b|i|u|em|strong|font|img|h[1-6]|pre|script|style|blockquote)"
    r"(?:[\s/][^<>]*)?>|&(?:lt|gt|amp|quot|nbsp|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});",
    re.IGNORECASE,
)
_UNREAD = ["script", "style", "head", "title", "template", "blockquote"]
_QUOTES = ".gmail_quote, .yahoo_quoted, .moz-cite-prefix, #divRplyFwdMsg, #appendonsend"

# Zero-width, bidi, soft hyphen, tag and interlinear characters join words or hide them; surrogates cannot be encoded.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
# U+2581 is how SentencePiece writes a space: at a text's end it would be read together with what follows.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2581]")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}

_REPLY_BELOW = re.compile(
    r"-{2,}\s*(?:original message|forwarded message|original-nachricht|message d'origine)\b", re.IGNORECASE
)
# A signature is short and last: the same line in the middle of a mail is the customer's own.
_SIGNATURE = re.compile(
    r"--\s*$|(?:sent|gesendet|envoyé) (?:from|von|de) (?:my |mein\w* |mon )?"
    r"(?:iphone|ipad|android|samsung|galaxy|huawei|mobile|smartphone|phone|handy|outlook|mail\b|yahoo)",
    re.IGNORECASE,
)
SIGNATURE_LINES = 8
# Every control token of every family opens with one of these; the prompt's own marker is "###".
_OPENERS = re.compile(r"([<\[#|])(?=\S)")


@dataclass(frozen=True)
class Prepared:
    """`text` is one line, empty when nothing readable is left; `cut` says that the limits dropped some of it."""

    text: str
    cut: bool


def prepare(subject: str, body: str, budget: int = BUDGET) -> Prepared:
    """The one line an llm reads of a ticket: at most `budget` bytes of UTF-8, its head and its tail.

    In bytes, because a byte-level tokenizer never makes more tokens than bytes: a prompt cannot outgrow its context.
    """
    return fit(whole(subject, body), budget)


def whole(subject: str, body: str) -> Prepared:
    """The same without a budget, for who knows better how much an llm can read."""
    long = len(subject) + len(body) > MAX_CHARS
    plain, lost = _readable(body[: max(0, MAX_CHARS - len(subject))])
    return Prepared(neutralise(_one_line(f"{subject[:MAX_CHARS]}\n{plain}")), cut=long or lost)


def fit(prepared: Prepared, budget: int) -> Prepared:
    """Two thirds of the budget from the head, the rest from the tail; the joint's spaces keep it harmless."""
    raw = prepared.text.encode()
    if len(raw) <= budget:
        return prepared
    joint = " ... "
    head = (budget - len(joint)) * 2 // 3
    tail = budget - len(joint) - head
    text = raw[:head].decode(errors="ignore").rstrip() + joint + raw[-tail:].decode(errors="ignore").lstrip()
    return Prepared(text, cut=True)


def neutralise(text: str) -> str:
    """Breaks whatever could be read as a control token or as the prompt's own marker, by inserting spaces.

    Deleting would let the neighbours form a new token; after this no opener touches what follows, so none can stand.
    """
    return _OPENERS.sub(r"\1 ", text)


def _readable(body: str) -> tuple[str, bool]:
    if not _HTML.search(body):
        return _without_quotes(body), False
    parts = body.split("<", MAX_TAGS)
    return _without_quotes(_html_text("<".join(parts[:MAX_TAGS]))), len(parts) > MAX_TAGS


def _html_text(html: str) -> str:
    tree = LexborHTMLParser(html.replace("\x00", " "))
    everything = tree.body.text(separator=" ") if tree.body else ""
    tree.strip_tags(_UNREAD)
    for node in tree.css(_QUOTES):
        node.decompose()
    own = tree.body.text(separator=" ") if tree.body else ""
    return own if own.strip() else everything


def _without_quotes(body: str) -> str:
    """Drops quoted lines, and everything below a reply header or a signature; a mail that is all quote stays whole."""
    lines = body.splitlines() or [""]
    kept: list[str] = []
    for left, (line, following) in enumerate(zip(lines, [*lines[1:], ""], strict=True), -len(lines)):
        if _starts_quote(line.strip(), following.strip()) or (-left <= SIGNATURE_LINES and _SIGNATURE.match(line)):
            break
        if not line.lstrip().startswith(">"):
            kept.append(line)
    own = "\n".join(kept)
    return own if own.strip() else body


def _starts_quote(line: str, following: str) -> bool:
    if _REPLY_BELOW.match(line):
        return True
    wrote = line.endswith("wrote:") or following.endswith("wrote:")
    return wrote and line.startswith("On ") and len(line) < 200


def _one_line(text: str) -> str:
    # What has to be found there is all beyond ASCII.
    plain = text if text.isascii() else _INVISIBLE.sub("", text.translate(_FULL_WIDTH))
    return " ".join(_CONTROL.sub(" ", plain).split())
