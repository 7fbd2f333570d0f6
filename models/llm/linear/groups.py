"""Which training tickets are near-duplicates of each other, so that no fold of a cross-validation knows its own test.

Called by training. Without it a data set of paraphrases looks a point or two better than it is, and too sure.
"""

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags_array, vstack
from scipy.sparse.csgraph import connected_components

ALIKE = 0.7  # cosine of two texts' words and neighbouring pairs, weighed by idf
_COMMON = 1_000  # a term of more rows says little and costs most; leaving it out can only make two texts less alike
_ROWS = 1_000


def groups(rows: csr_matrix) -> np.ndarray:
    """The group of each row: rows that are alike, directly or through others, share one. `rows` have length 1."""
    of_term = np.bincount(rows.indices, minlength=rows.shape[1])
    telling = csr_matrix(rows @ diags_array((of_term <= _COMMON).astype(rows.dtype)))
    telling.eliminate_zeros()
    columns = telling.T.tocsr()
    pairs = [_alike(telling[at : at + _ROWS] @ columns) for at in range(0, telling.shape[0], _ROWS)]
    _, found = connected_components(vstack(pairs), directed=False)
    return np.asarray(found)


def _alike(cosines: csr_matrix) -> coo_matrix:
    found = cosines.tocoo()
    kept = found.data >= ALIKE
    return coo_matrix((found.data[kept], (found.row[kept], found.col[kept])), shape=found.shape)
