"""A byte-level BPE tokenizer over the prompts, with a token for every code. Called by tiny.py."""

import json
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

# In this order they are the ids 0 to 3, as the GGUF declares them.
SPECIALS = ["<unk>", "<s>", "</s>", "<pad>"]
UNKNOWN, BEGIN, END, PADDING = range(4)


def train(prompts: Iterable[str], codes: Sequence[str], size: int) -> Tokenizer:
    """At most `size` learned tokens plus the two-letter codes; GPT-2's splitting, which llama.cpp has too."""
    tokenizer = _empty(models.BPE())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIALS, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator(prompts, trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    return _with_codes(learned["vocab"], learned["merges"], codes)


def tokenizer_of(vocab: dict[str, int], merges: list[list[str]]) -> Tokenizer:
    """The tokenizer of a known vocabulary and its merges, in order."""
    tokenizer = _empty(models.BPE(vocab, [(left, right) for left, right in merges]))
    tokenizer.add_special_tokens(SPECIALS)
    return tokenizer


def _empty(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _with_codes(vocab: dict[str, int], merges: list[list[str]], codes: Sequence[str]) -> Tokenizer:
    """Two-letter codes join as ordinary tokens by one last merge each; one-letter codes are bytes and exist already."""
    for code in codes:
        if code not in vocab:
            vocab[code] = len(vocab)
            merges.append([code[0], code[1]])
    return tokenizer_of(vocab, merges)
