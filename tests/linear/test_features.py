"""Features are those of scikit-learn's TfidfVectorizer, and cost no more than the text is long."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

import models.llm
from models.llm.linear.features import Vocabulary, pieces, vocabulary, weighting, words
from models.llm.text import prepare

TICKETS = Path(models.llm.__file__).parent / "demo" / "tickets.jsonl"
WORD = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
PIECE = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rows = [json.loads(line) for line in TICKETS.read_text().splitlines()[:300]]
    return [prepare(row["subject"], row["body"]).text for row in rows]


def test_rows_are_those_of_scikit_learn(texts: list[str]) -> None:
    known, new = texts[:200], texts[200:]
    terms = vocabulary(known)
    rows = weighting(terms.counts(known)).rows(terms.counts(new))
    theirs = [vectorizer.fit(known).transform(new) for vectorizer in (WORD, PIECE)]
    assert terms.words == list(WORD.get_feature_names_out())
    assert terms.pieces == list(PIECE.get_feature_names_out())
    np.testing.assert_allclose(rows.toarray(), np.hstack([one.toarray() for one in theirs]), atol=1e-6)


@given(st.text(max_size=60))
def test_terms_are_those_of_scikit_learn(text: str) -> None:
    line = prepare("", text).text.lower()
    assert sorted(words(line)) == sorted(WORD.build_analyzer()(line))
    assert sorted(piece for word in line.split() for piece in pieces(word)) == sorted(PIECE.build_analyzer()(line))


def test_the_order_of_the_tickets_does_not_matter(texts: list[str]) -> None:
    one, other = vocabulary(texts), vocabulary(texts[::-1])
    assert (one.words, one.pieces) == (other.words, other.pieces)


def test_a_text_without_a_known_term_is_a_row_of_zeros() -> None:
    terms = Vocabulary(["card"], [" c"])
    rows = weighting(terms.counts(["card", "card"])).rows(terms.counts(["", "xyz"]))
    assert (rows.shape, rows.nnz) == ((2, 2), 0)


def test_a_term_of_one_row_has_no_weight() -> None:
    terms = Vocabulary(["card", "pin"], [])
    idf = weighting(terms.counts(["card pin", "card"])).idf[0]
    assert (idf[0], idf[1]) == (1, 0)
