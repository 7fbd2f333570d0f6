"""What an exported llm says of examples, in torch with the file's own weights. Called by tiny.py and evaluate.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from models.llm.finetune.dataset import Example
from models.llm.finetune.network import TinyLlm
from models.llm.finetune.restore import read_gguf
from models.llm.finetune.training import item, logprobs


@dataclass(frozen=True)
class Reading:
    """An llm ready to be asked."""

    network: TinyLlm
    tokenizer: Tokenizer
    codes: dict[str, dict[str, str]]
    prompt_version: str

    @property
    def parameters(self) -> int:
        return sum(weights.numel() for weights in self.network.parameters())

    def ask(self, field: str, texts: Sequence[str]) -> np.ndarray:
        """Raw log-probabilities [texts, labels], labels in the order of the code map."""
        codes = list(self.codes[field].values())
        asked = [item(self.tokenizer, text, field, self.prompt_version, codes[0]) for text in texts]
        columns = [self.tokenizer.token_to_id(code) for code in codes]
        answers: np.ndarray = logprobs(self.network, asked)[:, columns].double().numpy()
        return answers

    def of(self, field: str, examples: Sequence[Example]) -> tuple[np.ndarray, list[int]]:
        """Log-probabilities and the index of the right label, for the examples that have this field."""
        having = [example for example in examples if field in example.labels]
        order = {label: at for at, label in enumerate(self.codes[field])}
        right = [order[example.labels[field]] for example in having]
        return self.ask(field, [example.text for example in having]), right


def read(gguf: Path, codes: dict[str, dict[str, str]], prompt_version: str) -> Reading:
    """The llm of a GGUF file that export.py wrote."""
    network, tokenizer = read_gguf(gguf)
    return Reading(network, tokenizer, codes, prompt_version)


def accuracy(reading: Reading, field: str, examples: Sequence[Example]) -> float:
    """The share of examples whose likeliest label is right."""
    answers, right = reading.of(field, examples)
    return round(float((answers.argmax(axis=1) == np.array(right)).mean()), 4)
