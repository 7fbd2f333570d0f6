"""The tokenizers of the stock chat models, reading a raw prompt as llama.cpp does: control tokens in it are control
tokens."""

import re
from functools import cache

from llama_models.llama3.api.chat_format import ChatFormat
from llama_models.llama3.api.datatypes import RawMessage
from llama_models.llama3.api.tokenizer import Tokenizer
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from sentencepiece import SentencePieceProcessor


class Mistral:
    """Mistral v0.3: SentencePiece."""

    def __init__(self) -> None:
        self._chat = MistralTokenizer.v3()
        pieces: SentencePieceProcessor = self._chat.instruct_tokenizer.tokenizer._model
        self._pieces = pieces
        names = (pieces.id_to_piece(id_) for id_ in range(1, pieces.vocab_size()))
        self.control = {
            name: pieces.piece_to_id(name)
            for name in names
            if re.fullmatch(r"</?s>|\[/?[A-Z]\w+\]|\[control_\d+\]", name)
        }
        self._split = re.compile("(" + "|".join(map(re.escape, self.control)) + ")")

    def read(self, text: str) -> list[int]:
        """Without the token that begins every prompt. What follows a control token is read like a text's beginning."""
        parts = [part for part in self._split.split(text) if part]
        return [
            id_
            for part in parts
            for id_ in ([self.control[part]] if part in self.control else self._pieces.encode(part))
        ]

    def chat(self, text: str) -> list[int]:
        """One message of a user, as the model was trained on it."""
        request = ChatCompletionRequest(messages=[UserMessage(content=text)])
        return self._chat.encode_chat_completion(request).tokens[1:]

    def vocabulary(self) -> set[str]:
        return {self._pieces.id_to_piece(id_) for id_ in range(self._pieces.vocab_size())}


class Nemo:
    """Mistral Nemo and Small: the same turns, byte-level BPE."""

    def __init__(self) -> None:
        self._chat = MistralTokenizer.v3(is_tekken=True)
        self._tokenizer = self._chat.instruct_tokenizer.tokenizer
        names = (getattr(one["token_str"], "value", one["token_str"]) for one in self._tokenizer._all_special_tokens)
        self.control = {name: self._tokenizer.get_special_token(name) for name in names}
        self._split = re.compile("(" + "|".join(map(re.escape, self.control)) + ")")

    def read(self, text: str) -> list[int]:
        """Without the token that begins every prompt."""
        parts = [part for part in self._split.split(text) if part]
        encoded = ([self.control[p]] if p in self.control else self._tokenizer.encode(p, False, False) for p in parts)
        return [id_ for ids in encoded for id_ in ids]

    def chat(self, text: str) -> list[int]:
        """One message of a user, as the model was trained on it."""
        request = ChatCompletionRequest(messages=[UserMessage(content=text)])
        return self._chat.encode_chat_completion(request).tokens[1:]


class Llama3:
    """Llama 3: byte-level BPE."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer.get_instance()
        self._chat = ChatFormat(self._tokenizer)
        self.control: dict[str, int] = dict(self._tokenizer.special_tokens)

    def read(self, text: str) -> list[int]:
        """Without the token that begins every prompt."""
        return self._tokenizer.encode(text, bos=False, eos=False, allowed_special="all")

    def chat(self, text: str) -> list[int]:
        """One message of a user, as the model was trained on it."""
        return self._chat.encode_dialog_prompt([RawMessage(role="user", content=text)]).tokens[1:]


@cache
def mistral() -> Mistral:
    return Mistral()


@cache
def nemo() -> Nemo:
    return Nemo()


@cache
def llama3() -> Llama3:
    return Llama3()
