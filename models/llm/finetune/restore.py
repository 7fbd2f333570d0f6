"""A GGUF of export.py -> the torch llm and tokenizer, with the very weights that serve. Called by reading.py."""

from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import Tokenizer

from models.llm.finetune.export import BLOCK
from models.llm.finetune.network import Shape, TinyLlm
from models.llm.finetune.vocabulary import tokenizer_of


def read_gguf(path: Path) -> tuple[TinyLlm, Tokenizer]:
    """Q8_0 weights come back as the numbers they stand for, so figures taken here are those of the file."""
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    tokens = _value(reader, "tokenizer.ggml.tokens")
    network = TinyLlm(_shape(reader, len(tokens)), len(tokens))
    names = {"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
    for layer in range(network.shape.layers):
        names |= {f"blocks.{layer}.{ours}.weight": f"blk.{layer}.{theirs}.weight" for theirs, ours in BLOCK.items()}
    network.load_state_dict({ours: torch.tensor(tensors[theirs]) for ours, theirs in names.items()})
    merges = [merge.split(" ") for merge in _value(reader, "tokenizer.ggml.merges")]
    return network, tokenizer_of({token: at for at, token in enumerate(tokens)}, merges)


def _shape(reader: gguf.GGUFReader, vocab: int) -> Shape:
    def number(key: str) -> int:
        return int(_value(reader, f"llama.{key}"))

    return Shape(
        vocab,
        number("embedding_length"),
        number("block_count"),
        number("attention.head_count"),
        number("attention.head_count_kv"),
        number("feed_forward_length"),
    )


def _value(reader: gguf.GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()
