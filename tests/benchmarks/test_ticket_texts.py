"""The texts that the benchmark asks about: the demo's own, and longer ones of their words."""

from itertools import islice

from benchmarks.tickets import labelled, texts, texts_of


def test_texts_are_the_demo_s_again_and_again():
    bodies = [ticket["body"] for ticket in labelled()]
    assert list(islice(texts(), len(bodies) + 1)) == [*bodies, bodies[0]]


def test_longer_texts_have_exactly_their_words_and_go_on_where_the_one_before_ended():
    first, second = islice(texts_of(300), 2)
    assert (len(first.split()), len(second.split())) == (300, 300)
    words = " ".join(islice(texts(), 200)).split()
    assert f"{first} {second}".split() == words[:600]
