"""Random heads from the table of operations: never wrong, whatever had to be laid out densely."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.random_heads import AFTER, LAYOUTS, MEET, WISE, Recipe

STEPS = st.lists(
    st.one_of(st.sampled_from(sorted(WISE)), st.sampled_from([f"to {name}" for name in LAYOUTS])), min_size=0, max_size=5
)


@settings(max_examples=80, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    mask=st.sampled_from(["point", "gaussian"]),
    batch=st.sampled_from([1, 2]),
    wise=STEPS,
    meet=st.sampled_from(sorted(MEET)),
    after=st.lists(st.sampled_from(sorted(AFTER)), max_size=2),
    chunk=st.sampled_from([None, None, 4]),
)
def test_never_wrong(layout, mask, batch, wise, meet, after, chunk):
    recipe = Recipe(layout, mask, batch, wise, meet, after)
    found = recipe.outcome(chunk)
    assert np.isfinite(found.truth).all()
    assert found.deviation <= recipe.allowed(found), (found.deviation, recipe.allowed(found), found.dense)
