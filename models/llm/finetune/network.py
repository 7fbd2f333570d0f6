"""The tiny llms in torch: a Mistral-shaped decoder whose weights export to llama.cpp as they are. Called by tiny.py."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Shape:
    """Sizes of one llm. Rows are multiples of 32 for Q8_0; `vocab` counts the tokens before the codes are added."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int

    @property
    def head(self) -> int:
        return self.hidden // self.heads


class Attention(nn.Module):  # type: ignore[misc, unused-ignore]  # torch is absent where types are checked
    """Causal grouped-query attention with rotary positions on neighbouring pairs, the order llama.cpp expects."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.k = nn.Linear(shape.hidden, shape.kv_heads * shape.head, bias=False)
        self.v = nn.Linear(shape.hidden, shape.kv_heads * shape.head, bias=False)
        self.o = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        q, k = rotate(self._split(self.q(x)), angles), rotate(self._split(self.k(x)), angles)
        out = functional.scaled_dot_product_attention(q, k, self._split(self.v(x)), is_causal=True, enable_gqa=True)
        return self.o(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.shape.head)).transpose(1, 2)


class Block(nn.Module):  # type: ignore[misc, unused-ignore]  # as above
    """Attention and a gated feed-forward, each behind an RMS norm."""

    def __init__(self, shape: Shape, dropout: float):
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.hidden, NORM_EPSILON)
        self.attention = Attention(shape)
        self.feed_norm = nn.RMSNorm(shape.hidden, NORM_EPSILON)
        self.gate = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.hidden, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), angles))
        y = self.feed_norm(x)
        return x + self.dropout(self.down(functional.silu(self.gate(y)) * self.up(y)))


class TinyLlm(nn.Module):  # type: ignore[misc, unused-ignore]  # as above
    """Token ids [batch, length] and last positions [batch] -> next-token logits [batch, vocab]; embeddings are tied."""

    def __init__(self, shape: Shape, vocab: int, dropout: float = 0.0):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(vocab, shape.hidden)
        self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, NORM_EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.apply(_initialise)

    def forward(self, ids: Tensor, last: Tensor) -> Tensor:
        x = self.dropout(self.embedding(ids))
        angles = rotary_angles(ids.shape[1], self.shape.head)
        for block in self.blocks:
            x = block(x, angles)
        final = x[torch.arange(len(ids)), last]
        return functional.linear(self.norm(final), self.embedding.weight)


def rotary_angles(length: int, head: int) -> Tensor:
    """[length, head / 2] angles as in Su et al. 2021, "RoFormer", section 3.2.2."""
    speeds = ROPE_BASE ** (-torch.arange(0, head, 2) / head)
    return torch.outer(torch.arange(length), speeds)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotates each neighbouring pair of the last dimension by its position's angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def _initialise(module: nn.Module) -> None:
    """Embeddings begin about as large as what the blocks add: a third of it cost 5 points of intent accuracy."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.6 * module.embedding_dim**-0.5)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.5 * module.in_features**-0.5)
