"""The order constraint in n: isotonic regression, model by model."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.isotonic import IsotonicRegression

from bestroute.pool import Arm
from bestroute.routers.order import rising_in_n

rows = st.integers(1, 6).flatmap(
    lambda n: arrays(float, (3, n), elements=st.floats(0, 1, allow_subnormal=False))
)


@given(rows)
def test_it_is_isotonic_regression_of_every_query(match) -> None:
    width = match.shape[1]
    found = rising_in_n(match, [Arm("m", n + 1) for n in range(width)])
    for given_row, row in zip(match, found, strict=True):
        wanted = IsotonicRegression().fit_transform(np.arange(width), given_row)
        np.testing.assert_allclose(row, wanted, atol=1e-9)


def test_models_do_not_touch_and_the_order_of_columns_does_not_matter() -> None:
    arms = [Arm("a", 2), Arm("b", 1), Arm("a", 1), Arm("b", 2)]
    found = rising_in_n(np.array([[0.2, 0.1, 0.6, 0.9]]), arms)
    np.testing.assert_allclose(found, [[0.4, 0.1, 0.4, 0.9]])
