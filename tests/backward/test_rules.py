"""Every rule of the backward pass against central differences, through the table: a rule without a tiny graph fails."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import backward_elementwise, backward_indexing, backward_structure
from helpers.backward_structure import old
from helpers.differences import Tiny, backward, check, numbers
from helpers.opsets import is_operation
from ovxai.backward.interpreter import derivatives
from ovxai.backward.table import RULES
from ovxai.backward.targets import Targets
from ovxai.errors import UnsupportedModelError
from ovxai.graph.graph import Graph

TABLES = (backward_elementwise, backward_indexing, backward_structure)
APPLY: dict[str, list[Tiny]] = {kind: tinies for table in TABLES for kind, tinies in table.APPLY.items()}
REFUSE: dict[str, tuple[Tiny, str, tuple[int, ...]]] = {
    kind: refused for table in TABLES for kind, refused in table.REFUSE.items()
}
CASES = [(kind, place) for kind in APPLY for place in range(len(APPLY[kind]))]


def test_every_rule_has_a_graph():
    assert set(RULES) == set(APPLY)


def test_names_of_rules_are_operations():
    assert not [kind for kind in RULES if not is_operation(kind)]


@pytest.mark.parametrize(("kind", "place"), CASES, ids=[f"{kind}-{place}" for kind, place in CASES])
def test_a_rule_is_the_derivative(kind, place):
    tiny = APPLY[kind][place]
    assert kind in {node.get_type_name() for node in tiny.model().get_ops()}
    check(tiny)


@pytest.mark.parametrize(("kind", "place"), CASES, ids=[f"{kind}-{place}" for kind, place in CASES])
def test_of_several_targets_at_once(kind, place):
    check(APPLY[kind][place], count=3)


@pytest.mark.parametrize("kind", APPLY)
def test_with_an_open_batch(kind):
    check(APPLY[kind][0], count=2, dynamic=(0,))


def test_a_cut_before_a_quantiser_is_not_read_again():
    """Its reader would keep plugins from joining it to the quantiser."""
    image = op.parameter([1, 3, 4, 4], np.float32)
    cut = op.relu(image)
    model = ov.Model([op.result(backward_elementwise.quantised(cut, 0.0, 1.0))], [image], "quantised")
    graph = Graph(model)
    found = derivatives(graph, {graph.results[0]: op.constant(numbers(1, 3, 4, 4)).output(0)}, [image.output(0)], Targets(1))
    assert len(cut.output(0).get_target_inputs()) == 1 and found[0] is not None


@pytest.mark.parametrize(("values", "stride"), [(np.nan, 2), (1.0, 3)], ids=["NaN", "a window beyond the map"])
def test_a_pool_without_a_largest_entry_ends_nothing(values, stride):
    """Places beyond the map would end the process."""
    pool = Tiny(lambda x: op.max_pool(x, [stride] * 2, [1, 1], [0, 0], [0, 0], [2, 2], "ceil").output(0), ((1, 2, 6, 6),))
    side = -(-4 // stride) + 1
    found = backward(pool.model(), np.ones((2, 1, 2, side, side), np.float32), [np.full((1, 2, 6, 6), values, np.float32)])
    assert found[0].shape == (2, 1, 2, 6, 6) and np.isfinite(found[0]).all()


@pytest.mark.parametrize(
    "root",
    [op.sqrt, lambda x: op.power(x, np.float32(0.5)), lambda x: op.reduce_l2(x, np.array([1]), False)],
    ids=["Sqrt", "Power", "ReduceL2"],
)
def test_a_root_of_nothing_that_no_target_asks_for_is_no_nan(root):
    """Endless times 0: scores that a sigmoid has rounded to 0 stand beside those that are derived."""
    model = Tiny(root, ((2, 3),)).model()
    found = backward(model, np.zeros((1, *model.output(0).get_shape()), np.float32), [np.zeros((2, 3), np.float32)])
    assert not found[0].any() and np.isfinite(found[0]).all()


def test_a_gather_of_the_first_form() -> None:
    """It has no word of axes that both tensors share."""
    check(Tiny(lambda x: old("opset1", "Gather", [x, op.constant([2, 0]), op.constant(1)]), ((2, 6, 4),)))


def test_an_einsum_that_broadcasts_is_refused() -> None:
    """A letter may stand for one entry here and for several there."""
    tiny = Tiny(lambda *operands: op.einsum(list(operands), "bij,bij->bj"), ((2, 1, 3), (2, 4, 3)))
    with pytest.raises(UnsupportedModelError, match="axis i of its equation bij,bij->bj is 1 long here and 4 there"):
        backward(tiny.model(), np.ones((1, 2, 3), np.float32), tiny.feed())


def test_attention_to_a_sink_is_refused() -> None:
    further = [op.constant(np.float32(0)), op.constant(np.float32(1)), op.constant(np.ones((2, 4, 1), np.float32))]
    tiny = Tiny(lambda *qkv: old("opset13", "ScaledDotProductAttention", [*qkv, *further], causal=False), ((2, 4, 5),) * 3)
    with pytest.raises(UnsupportedModelError, match=r"ScaledDotProductAttention .* sink"):
        backward(tiny.model(), np.ones((1, 2, 4, 5), np.float32), tiny.feed())


def test_numbers_of_entries_have_no_derivative() -> None:
    """What a TopK picks goes on through its values alone; asked for one by numbers, rules refuse."""
    x, index, places = op.parameter([2, 6], np.float32), op.parameter([2, 3], np.int64), op.parameter([2, 3, 1], np.int64)
    best, taken = op.topk(x, np.int64(3), 1, "max", "value", index_element_type="i64"), op.gather_elements(x, index, 1)
    rows = op.gather_nd(x, places, 1)
    numbered = op.convert(best.output(1), "f32")
    for name, node in (("the best", best), ("the taken", taken), ("the rows", rows)):
        node.set_friendly_name(name)
    outputs = (best.output(0), best.output(1), taken.output(0), rows.output(0), numbered.output(0))
    graph = Graph(ov.Model([op.result(port) for port in outputs], [x, index, places], "numbered"))
    seed = op.constant(numbers(2, 3)).output(0)
    assert derivatives(graph, {graph.results[4]: seed}, [x.output(0)], Targets(1)) == [None]
    assert derivatives(graph, {graph.results[0]: seed}, [x.output(0)], Targets(1)) != [None]
    with pytest.raises(UnsupportedModelError, match="TopK the best: scores read more of it than its first output"):
        derivatives(graph, {graph.results[0]: seed, graph.results[1]: seed}, [x.output(0)], Targets(1))
    for place, tap, name in ((2, index, "GatherElements the taken"), (3, places, "GatherND the rows")):
        with pytest.raises(UnsupportedModelError, match=f"{name}: its input 1 depends on the picture"):
            derivatives(graph, {graph.results[place]: seed}, [tap.output(0)], Targets(1))


@pytest.mark.parametrize("kind", REFUSE)
def test_a_rule_refuses_by_name(kind):
    tiny, word, opened = REFUSE[kind]
    model = tiny.model(opened)
    operation = next(node for node in model.get_ordered_ops() if node.get_type_name() == kind)
    operation.set_friendly_name("the operation")
    weights = numbers(1, *tiny.model().output(0).get_partial_shape().get_min_shape())
    with pytest.raises(UnsupportedModelError, match=f"{kind} the operation: .*{word}"):
        backward(model, weights, tiny.feed())
