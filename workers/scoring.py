"""What an llm says of one field of a ticket: one question, or several where codes have two levels. Called by `llm`."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache, reduce
from operator import add

from models.errors import EngineError
from models.llm.answer import filled, listed, mass, softmax
from models.llm.card import Card
from models.llm.codes import LEVELS
from models.llm.prompt import render
from workers.engines.base import Engine, Scores

# Groups that hold less than this together are not asked: none of their members could change a decision.
LEFT = 1e-3
_LEAST = 5e-324  # what has a logarithm

Ask = Callable[[Sequence[str], str], Scores]


def score(engine: Engine, card: Card, llm: str, text: str, field: str, codes: Sequence[str]) -> Scores:
    """Scores the `codes` of a field for a prepared text; raises what the engine raises.

    With codes of two levels, "group/member", it asks for the group first and then for the member, group after group,
    the likeliest first: p(code) = p(group) * p(member | group). What was listed is exact; bounds have what was not.
    """

    def ask(some: Sequence[str], group: str = "") -> Scores:
        return engine.score(llm, render(text, field, card.prompt_version, card.header, group), some)

    groups = _groups(tuple(codes))
    return _two_levels(ask, groups) if groups else ask(codes)


@cache
def _groups(codes: tuple[str, ...]) -> dict[str, list[str]]:
    """group -> its members; nothing for codes of one level."""
    groups: dict[str, list[str]] = {}
    for group, level, member in (code.partition(LEVELS) for code in codes):
        if level:
            groups.setdefault(group, []).append(member)
    return groups


def _two_levels(ask: Ask, groups: Mapping[str, Sequence[str]]) -> Scores:
    first = ask(list(groups), "")
    if first.chosen is not None:
        return _chosen(ask, groups, first)
    shares = softmax(filled(first.logprobs, groups, first.bounds))
    asked = _asked(ask, groups, shares)
    heard = _heard(asked, groups)
    known, bounds = _joined(first, heard, groups, _understood(heard, groups, shares))
    _must_be_heard(asked.keys() - heard.keys(), known, bounds, shares)
    timings = reduce(add, [one.timings for one in asked.values()], first.timings)
    return Scores(known, not bounds, timings, bounds=bounds)


def _asked(ask: Ask, groups: Mapping[str, Sequence[str]], shares: Mapping[str, float]) -> dict[str, Scores]:
    """What the llm says of the members, of each group that is worth it and has more than one."""
    asked: dict[str, Scores] = {}
    left = 1.0
    for group in sorted(shares, key=shares.__getitem__, reverse=True):
        if left < LEFT:
            break
        if len(groups[group]) > 1:
            asked[group] = ask(groups[group], group)
        left -= shares[group]
    return asked


def _heard(asked: Mapping[str, Scores], groups: Mapping[str, Sequence[str]]) -> dict[str, Scores]:
    """The answers that list a member: any other group counts as not asked."""
    return {group: said for group, said in asked.items() if listed(said.logprobs, groups[group])}


def _must_be_heard(
    unheard: Collection[str], known: Mapping[str, float], bounds: Mapping[str, float], shares: Mapping[str, float]
) -> None:
    """EngineError where a group that listed no member is the likeliest, or would win with a member nobody listed."""
    best = max(known.values(), default=-math.inf)
    wins = {code.partition(LEVELS)[0] for code, value in bounds.items() if value > best}
    if not wins.union([max(shares, key=shares.__getitem__)]).isdisjoint(unheard):
        raise EngineError("The llm gave no log-probability for any label of the likeliest group of this field.")


def _understood(asked: Mapping[str, Scores], groups: Mapping[str, Sequence[str]], shares: Mapping[str, float]) -> float:
    """The probability that the llm answers the second question with one of its codes at all."""
    masses = [(shares[group], mass(filled(said.logprobs, groups[group], said.bounds))) for group, said in asked.items()]
    total = math.fsum(share for share, _ in masses)
    return min(1.0, math.fsum(share * own for share, own in masses) / total) if total > 0 else 1.0


def _joined(
    first: Scores, asked: Mapping[str, Scores], groups: Mapping[str, Sequence[str]], understood: float
) -> tuple[dict[str, float], dict[str, float]]:
    """The log-probabilities of whole codes: those that were listed at both levels, and what the others count with."""
    known: dict[str, float] = {}
    bounds: dict[str, float] = {}
    here = listed(first.logprobs, groups)
    for group, value in filled(first.logprobs, groups, first.bounds).items():
        shares, there = _members(asked.get(group), groups[group])
        for member, share in shares.items():
            part = known if group in here and member in there else bounds
            part[f"{group}{LEVELS}{member}"] = value + math.log(max(_LEAST, share * understood))
    return known, bounds


def _members(said: Scores | None, members: Sequence[str]) -> tuple[dict[str, float], Collection[str]]:
    """p(member | group), and which of them are known. Of a group that was not heard, all are as likely."""
    if said is None:
        return softmax(dict.fromkeys(members, 0.0)), members if len(members) == 1 else ()
    return softmax(filled(said.logprobs, members, said.bounds)), listed(said.logprobs, members)


def _chosen(ask: Ask, groups: Mapping[str, Sequence[str]], first: Scores) -> Scores:
    """Without log-probabilities: the group that it chose, and the member that it chose there."""
    group = str(first.chosen)
    members = groups[group]
    if len(members) == 1:
        return replace(first, chosen=f"{group}{LEVELS}{members[0]}")
    second = ask(members, group)
    return replace(second, timings=first.timings + second.timings, chosen=f"{group}{LEVELS}{second.chosen}")
