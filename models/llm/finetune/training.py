"""Fits a tiny llm to examples of several fields at once. Called by tiny.py."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from models.llm.finetune.dataset import Example
from models.llm.finetune.network import TinyLlm
from models.llm.finetune.vocabulary import BEGIN, PADDING, UNKNOWN
from models.llm.prompt import render

BATCH = 64


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train. `word_dropout` is the share of ticket tokens hidden from the llm in training."""

    epochs: int
    rate: float = 3e-3
    decay: float = 0.1
    dropout: float = 0.1
    word_dropout: float = 0.1


@dataclass(frozen=True)
class Item:
    """One prompt as ids, the id of its right code, and the span of the ticket within."""

    ids: list[int]
    target: int
    ticket: range


def items(
    examples: Sequence[Example], codes: dict[str, dict[str, str]], tokenizer: Tokenizer, prompt_version: str
) -> list[Item]:
    """One item per example and field, with the same prompt as in serving."""
    return [
        item(tokenizer, example.text, field, prompt_version, codes[field][label])
        for example in examples
        for field, label in example.labels.items()
    ]


def item(tokenizer: Tokenizer, text: str, field: str, prompt_version: str, code: str) -> Item:
    """The ids at token level pin the code, whatever merges would happen at the boundary."""
    ids = [BEGIN, *tokenizer.encode(render(text, field, prompt_version)).ids]
    empty = [BEGIN, *tokenizer.encode(render("", field, prompt_version)).ids]
    head = next(i for i, (a, b) in enumerate(zip(ids, empty, strict=False)) if a != b) if text else 0
    return Item(ids, tokenizer.token_to_id(code), range(head, head + len(ids) - len(empty)))


def fit(network: TinyLlm, train: list[Item], recipe: Recipe, seed: int, advance: Callable[[float], None]) -> None:
    """AdamW with a short warm-up and a cosine to zero; cross-entropy over the whole vocabulary, no label smoothing."""
    coin = random.Random(seed)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.rate, (0.9, 0.98), weight_decay=recipe.decay)
    total = steps(train, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    network.train()
    for _ in range(recipe.epochs):
        for batch in _batches(train, coin):
            loss = functional.cross_entropy(network(*_padded(_hide(batch, recipe.word_dropout, coin))), _targets(batch))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            advance(loss.item())


def steps(train: Sequence[Item], recipe: Recipe) -> int:
    """How many times fit advances."""
    return recipe.epochs * math.ceil(len(train) / BATCH)


def logprobs(network: TinyLlm, asked: Sequence[Item]) -> Tensor:
    """Raw next-token log-probabilities [items, vocab], in the order of `asked`."""
    network.eval()
    with torch.no_grad():
        chunks = [network(*_padded([one.ids for one in asked[at : at + 256]])) for at in range(0, len(asked), 256)]
    return torch.cat(chunks).log_softmax(-1)


def _rate(step: int, total: int) -> float:
    warm = max(1, total // 20)
    return min(1.0, (step + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / total)))


def _batches(train: list[Item], coin: random.Random) -> Iterator[list[Item]]:
    """Random batches of similar length: within a random pool of 50 batches the items are sorted."""
    order = coin.sample(train, len(train))
    pool = BATCH * 50
    batches: list[list[Item]] = []
    for at in range(0, len(order), pool):
        ranked = sorted(order[at : at + pool], key=lambda one: len(one.ids))
        batches += [ranked[i : i + BATCH] for i in range(0, len(ranked), BATCH)]
    yield from coin.sample(batches, len(batches))


def _hide(batch: list[Item], share: float, coin: random.Random) -> list[list[int]]:
    return [
        [UNKNOWN if at in one.ticket and coin.random() < share else token for at, token in enumerate(one.ids)]
        for one in batch
    ]


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([row + [PADDING] * (width - len(row)) for row in rows])
    return ids, torch.tensor([len(row) - 1 for row in rows])


def _targets(batch: list[Item]) -> Tensor:
    return torch.tensor([one.target for one in batch])
