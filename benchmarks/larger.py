"""The demo's fallback made larger, by layers that change nothing: the same answers at the cost of a larger llm.

Used by asking.py: in the demo's llms reading a prompt's text costs as much as several tokens, as in no real llm.
"""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np

from models.llm.card import Card

LAYERS = 30  # 19 million weights with them, instead of 2
NOTHING = ("attn_output.weight", "ffn_down.weight")  # what a layer adds to its input passes through these
COUNT = "llama.block_count"


def larger(card: Card, path: Path) -> Card:
    """Writes the llm to `path`, and gives its card."""
    known = gguf.GGUFReader(card.path)
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, known)
    for tensor in known.tensors:
        _add(writer, tensor.name, tensor)
        if tensor.name.startswith("blk.0."):
            part = tensor.name.removeprefix("blk.0.")
            for layer in range(LAYERS):
                _add(writer, f"blk.{_layers(known) + layer}.{part}", tensor, nothing=part in NOTHING)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return replace(card, path=path, name=f"{card.name}-larger")


def _describe(writer: gguf.GGUFWriter, known: gguf.GGUFReader) -> None:
    """What the file says of itself, with the new number of layers."""
    for name, field in known.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = _layers(known) + LAYERS if name == COUNT else field.contents()
        array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(name, value, field.types[0], sub_type=field.types[-1] if array else None)


def _layers(known: gguf.GGUFReader) -> int:
    return int(known.fields[COUNT].contents())


def _add(writer: gguf.GGUFWriter, name: str, tensor: gguf.ReaderTensor, *, nothing: bool = False) -> None:
    data = np.zeros_like(tensor.data) if nothing else np.array(tensor.data)
    writer.add_tensor(name, data, raw_dtype=tensor.tensor_type)
