"""A trained tiny llm -> a Q8_0 GGUF that llama.cpp loads. Called by tiny.py."""

import json
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer

from models.llm.finetune.network import NORM_EPSILON, ROPE_BASE, TinyLlm
from models.llm.finetune.vocabulary import BEGIN, END, PADDING, SPECIALS, UNKNOWN
from models.whole import whole

# More than any prepared ticket can fill; positions beyond the training lengths are as untrained as such tickets.
CONTEXT = 4_096
# Their tensor names -> ours, within a block.
BLOCK = {
    "attn_norm": "attention_norm",
    "attn_q": "attention.q",
    "attn_k": "attention.k",
    "attn_v": "attention.v",
    "attn_output": "attention.o",
    "ffn_norm": "feed_norm",
    "ffn_gate": "gate",
    "ffn_up": "up",
    "ffn_down": "down",
}


def write_gguf(path: Path, name: str, network: TinyLlm, tokenizer: Tokenizer) -> None:
    """Writes `path`, whole or not at all. Matrices become Q8_0, norms stay F32; the output is the embedding again."""
    with whole(path) as part:
        _write(part, name, network, tokenizer)


def _write(path: Path, name: str, network: TinyLlm, tokenizer: Tokenizer) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, name, network)
    _add_tokenizer(writer, tokenizer)
    state = {key: value.detach().numpy().astype(np.float32) for key, value in network.state_dict().items()}
    _add(writer, "token_embd.weight", state["embedding.weight"])
    _add(writer, "output_norm.weight", state["norm.weight"])
    for layer in range(network.shape.layers):
        for theirs, ours in BLOCK.items():
            _add(writer, f"blk.{layer}.{theirs}.weight", state[f"blocks.{layer}.{ours}.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, name: str, network: TinyLlm) -> None:
    shape = network.shape
    writer.add_name(name)
    writer.add_license("Apache-2.0")
    writer.add_context_length(CONTEXT)
    writer.add_vocab_size(network.embedding.num_embeddings)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    content = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].__getitem__)
    kinds = [
        gguf.TokenType.UNKNOWN,
        *[gguf.TokenType.CONTROL] * 3,
        *[gguf.TokenType.NORMAL] * (len(tokens) - len(SPECIALS)),
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in content["merges"]])
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_pad_token_id(PADDING)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def _add(writer: gguf.GGUFWriter, name: str, weights: np.ndarray) -> None:
    if weights.ndim == 1:
        writer.add_tensor(name, weights)
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
