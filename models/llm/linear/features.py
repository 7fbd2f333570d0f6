"""Prepared texts -> rows of numbers: words, pairs of words, and the pieces of 2 to 5 characters inside words.

Called by training and by the loaded model. The definitions are those of scikit-learn's TfidfVectorizer (analyzers
`word` and `char_wb`, sublinear tf, smoothed idf), which tests compare with. Done here because the pieces depend on the
single word only: remembering them word by word reads tickets several times faster.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix, hstack

SHORTEST, LONGEST = 2, 5
MIN_ROWS = 2  # a term of a single training ticket says nothing about others
MAX_TERMS = 80_000  # of each kind, the commonest: bounds memory whatever the data
_WORD = re.compile(r"\b\w\w+\b")
_REMEMBERED, _REMEMBERED_LENGTH = 50_000, 24


def words(text: str) -> list[str]:
    """The words of two characters or more, and each two neighbours."""
    single = _WORD.findall(text)
    return single + [f"{one} {other}" for one, other in pairwise(single)]


def pieces(word: str) -> list[str]:
    """The runs of 2 to 5 characters of one word with a space on both sides."""
    padded = f" {word} "
    longest = min(LONGEST, len(padded))
    return [padded[at : at + n] for n in range(SHORTEST, longest + 1) for at in range(len(padded) - n + 1)]


class Vocabulary:
    """Which term is which column; words and pieces are numbered apart. Safe for threads."""

    def __init__(self, word_terms: Sequence[str], piece_terms: Sequence[str]):
        self.words, self.pieces = list(word_terms), list(piece_terms)
        self._words = {term: column for column, term in enumerate(self.words)}
        self._pieces = {term: column for column, term in enumerate(self.pieces)}
        self._remembered = lru_cache(_REMEMBERED)(self._columns)

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[list[str], list[str]]]:
        """For another process; what is remembered stays here."""
        return Vocabulary, (self.words, self.pieces)

    def counts(self, texts: Sequence[str]) -> tuple[csr_matrix, csr_matrix]:
        """How often each word and each piece stands in each text: two matrices of [texts, terms]."""
        lowered = [text.lower() for text in texts]
        known = self._words
        of_words = [[known[term] for term in words(text) if term in known] for text in lowered]
        return _matrix(of_words, len(self.words)), _matrix(map(self._pieces_of, lowered), len(self.pieces))

    def _pieces_of(self, text: str) -> list[int]:
        found: list[int] = []
        for word in text.split():
            found += (self._remembered if len(word) <= _REMEMBERED_LENGTH else self._columns)(word)
        return found

    def _columns(self, word: str) -> list[int]:
        return [self._pieces[piece] for piece in pieces(word) if piece in self._pieces]


def vocabulary(texts: Sequence[str]) -> Vocabulary:
    """Every term that stands in at least MIN_ROWS texts."""
    own_pieces = lru_cache(_REMEMBERED)(pieces)
    in_words: Counter[str] = Counter()
    in_pieces: Counter[str] = Counter()
    for text in texts:
        lowered = text.lower()
        in_words.update(set(words(lowered)))
        in_pieces.update(set().union(*map(own_pieces, lowered.split())))
    return Vocabulary(_common(in_words), _common(in_pieces))


class Weighting:
    """TF-IDF: which columns count, and how much. `idf` is 0 for a term that too few rows have."""

    def __init__(self, idf: Sequence[np.ndarray]):
        self.idf = [np.asarray(one, dtype=np.float32) for one in idf]

    def rows(self, counts: Sequence[csr_matrix]) -> csr_matrix:
        """One row per text, words then pieces, each kind of length 1 (a text may have no known term: then 0)."""
        return hstack([_weighed(count, idf) for count, idf in zip(counts, self.idf, strict=True)], format="csr")


def weighting(counts: Sequence[csr_matrix]) -> Weighting:
    """ln((1 + n) / (1 + df)) + 1 of these rows alone."""
    return Weighting([_idf(count) for count in counts])


def _idf(count: csr_matrix) -> np.ndarray:
    rows = np.bincount(count.indices, minlength=count.shape[1])
    idf = np.log((1 + count.shape[0]) / (1 + rows)) + 1
    return np.where(rows >= MIN_ROWS, idf, 0)


def _weighed(count: csr_matrix, idf: np.ndarray) -> csr_matrix:
    data = (1 + np.log(count.data)) * idf[count.indices]
    squares = np.concatenate([[0], np.cumsum(data * data, dtype=np.float64)])
    lengths = np.sqrt(np.maximum(np.diff(squares[count.indptr]), 1e-12))
    data /= np.repeat(lengths, np.diff(count.indptr)).astype(np.float32)
    return csr_matrix((data, count.indices, count.indptr), shape=count.shape)


def _matrix(rows: Iterable[Sequence[int]], width: int) -> csr_matrix:
    columns: list[int] = []
    ends = [0]
    for row in rows:
        columns += row
        ends.append(len(columns))
    data = np.ones(len(columns), dtype=np.float32)
    found = csr_matrix(
        (data, np.array(columns, dtype=np.int32), np.array(ends, dtype=np.int32)), (len(ends) - 1, width)
    )
    found.sum_duplicates()
    return found


def _common(rows: Counter[str]) -> list[str]:
    """In alphabetical order, so that the same texts in another order give the same columns."""
    kept = [term for term, n in rows.items() if n >= MIN_ROWS]
    return sorted(sorted(kept, key=lambda term: (-rows[term], term))[:MAX_TERMS])
