"""The fitted temperature: found, kept inside its bounds, and believed only where unseen rows agree."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.errors import InvalidRequest
from models.evaluation import temperature


def drawn(n, scale, seed=0):
    """Log-probabilities that are `scale` times too sure, and labels drawn from the true ones."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, 5))
    right = np.array([random.choice(5, p=np.exp(row)) for row in log_softmax(logits, axis=1)])
    return log_softmax(scale * logits, axis=1), right


def test_it_finds_what_was_done_to_the_confidences():
    found = temperature.fit(*drawn(4_000, 2.0))
    assert found.temperature == pytest.approx(2.0, rel=0.06)
    assert found.accepted
    assert found.after < found.before


def test_it_is_the_minimum_that_scipy_finds():
    logprobs, right = drawn(500, 1.7)
    rows = np.arange(500)
    found = minimize_scalar(lambda b: -log_softmax(b * logprobs, axis=1)[rows, right].mean(), bounds=(0.2, 5))
    assert temperature.best(logprobs, right) == pytest.approx(1 / found.x, abs=1e-3)
    assert temperature.nll(logprobs, right) == pytest.approx(-logprobs[rows, right].mean())


@pytest.mark.parametrize(("scale", "bound"), [(40.0, 5.0), (0.01, 0.2)])
def test_it_stays_between_its_bounds(scale, bound):
    assert temperature.best(*drawn(400, scale)) == pytest.approx(bound, rel=1e-3)


def test_a_temperature_that_does_not_help_unseen_rows_is_refused():
    """The two folds want opposite temperatures, so that each does harm on the other."""
    fold = np.random.default_rng(0).permutation(200) % 2
    logprobs = np.log(np.tile([0.7, 0.3], (200, 1)))
    right = np.where(fold == 0, 0, np.arange(200) % 2)
    found = temperature.fit(logprobs, right, seed=0)
    assert not found.accepted


def test_a_label_that_no_row_has_is_no_hindrance():
    logprobs, right = drawn(300, 2.0)
    some = right != 4
    assert temperature.fit(logprobs[some], right[some]).accepted


def test_below_100_rows_it_is_refused():
    logprobs, right = drawn(99, 2.0)
    with pytest.raises(InvalidRequest, match=r"at least 100 .* these are 99"):
        temperature.fit(logprobs, right)
