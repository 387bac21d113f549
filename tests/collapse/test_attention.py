"""Token heads: class tokens, attention in the forms that exporters write, what is read of it."""

from functools import partial

import numpy as np
import pytest
from openvino import opset13 as op

from helpers.heads import (
    CLASSES,
    block,
    decomposed_attention,
    heads_apart,
    heads_joined,
    layer_norm,
    linear,
    mean,
    mlp,
    qkv,
    token,
    width,
)
from helpers.oracle import case, collapsed, compare, exact, numbers, refused

MASKS = ("point", "gaussian")
GRID = (3, 4)
TOKENS = 13

vit = partial(case, layout="NPC", prefix=1, channels=6, taps=2)
single = partial(case, layout="NPC", prefix=1, channels=6)
pooling = partial(case, layout="NPC", channels=6)


def sdpa(q, k, v, mask=None, scale=None, causal=False):
    if mask is None and scale is None:
        return op.scaled_dot_product_attention(q, k, v, causal=causal)
    mask = op.constant(np.float32(0)) if mask is None else op.constant(mask)
    if scale is None:
        return op.scaled_dot_product_attention(q, k, v, mask, causal=causal)
    return op.scaled_dot_product_attention(q, k, v, mask, op.constant(np.float32(scale)), causal=causal)


def attend_transposed(q, k, v):
    """k is laid out [N, H, d, T] before the product, as some exporters have it."""
    scores = op.matmul(op.multiply(q, np.float32(0.7)), op.transpose(k, [0, 1, 3, 2]), False, False)
    return op.matmul(op.softmax(scores, 3), v, False, False)


def bias_table(rows=TOKENS, columns=TOKENS, heads=2, seed=40):
    return numbers(1, heads, rows, columns, seed=seed)


NO_KEYS_MASKED = np.ones((1, 1, TOKENS, TOKENS), bool)
SOME_KEYS_MASKED = np.where(np.arange(TOKENS) % 5 == 3, np.float32(-4), np.float32(0)) * np.ones((1, 1, TOKENS, 1), np.float32)

ATTENTIONS = {
    "decomposed": decomposed_attention,
    "transposed keys": attend_transposed,
    "sdpa": sdpa,
    "sdpa, scale": partial(sdpa, scale=0.9),
    "sdpa, mask": partial(sdpa, mask=SOME_KEYS_MASKED),
    "sdpa, mask and scale": partial(sdpa, mask=SOME_KEYS_MASKED, scale=0.5),
    "sdpa, boolean mask": partial(sdpa, mask=NO_KEYS_MASKED),
    "relative bias": partial(decomposed_attention, bias=bias_table()),
    "sdpa, relative bias": partial(sdpa, mask=bias_table()),
}


# --- the class token of the last block ------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", ATTENTIONS)
def test_class_token_after_the_last_block(name, mask):
    exact(vit(lambda n, r: linear(token(layer_norm(block(n, r, attention=ATTENTIONS[name])))), mask=mask, batch=2))


@pytest.mark.parametrize("name", ["decomposed", "sdpa, relative bias"])
def test_tokens_that_are_not_affine_in_the_gate(name):
    """An activation ahead of the block: every level of the gate has scores and values of its own."""
    exact(vit(lambda n, r: linear(token(layer_norm(block(op.relu(n), r, attention=ATTENTIONS[name])))), mask="gaussian", batch=2))


@pytest.mark.parametrize("form", ["split", "variadic", "gather", "slice"])
def test_fused_projections(form):
    exact(vit(lambda n, r: linear(token(layer_norm(block(n, r, form)))), mask="gaussian", batch=2))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("form", ["apart", "gather"])
def test_dynamic_batch(form, batch):
    exact(vit(lambda n, r: linear(token(layer_norm(block(n, r, form, sdpa)))), mask="gaussian", batch=batch, dynamic=(0,)))


def test_batch_of_one():
    exact(vit(lambda n, r: linear(token(layer_norm(block(n, r, "gather", sdpa)))), mask="gaussian"))


READ = {
    "Gather of a scalar": lambda x: token(x),
    "Gather of a list": lambda x: op.squeeze(op.gather(x, np.array([0]), np.int64(1)), np.array([1])),
    "Gather from the end": lambda x: op.gather(x, np.int64(-TOKENS), np.int64(-2)),
    "Slice": lambda x: op.squeeze(op.slice(x, np.array([0]), np.array([1]), np.array([1]), np.array([1])), np.array([1])),
    "Slice of all axes": lambda x: op.squeeze(op.slice(x, np.array([0, 0]), np.array([9, 1]), np.array([1, 1])), np.array([1])),
    "StridedSlice, shrinking": lambda x: op.strided_slice(
        x, np.array([0, 0]), np.array([0, 1]), np.array([1, 1]), [1, 0], [1, 0], [], [0, 1], []
    ),
    "StridedSlice": lambda x: op.reshape(
        op.strided_slice(x, np.array([0, 0, 0]), np.array([0, 1, 0]), np.array([1, 1, 1]), [1, 0, 1], [1, 0, 1]),
        np.array([0, -1]),
        True,
    ),
    "VariadicSplit": lambda x: op.squeeze(op.variadic_split(x, np.int64(1), np.array([1, TOKENS - 1])).output(0), np.array([1])),
    "Split": lambda x: op.squeeze(op.split(x, np.int64(1), TOKENS).output(0), np.array([1])),
}


@pytest.mark.parametrize("name", READ)
def test_ways_to_read_the_class_token(name):
    if name == "Split":
        compare(vit(lambda n, r: linear(READ[name](layer_norm(block(n, r)))), mask="gaussian", batch=2))
    else:
        exact(vit(lambda n, r: linear(READ[name](layer_norm(block(n, r)))), mask="gaussian", batch=2))


def test_norm_behind_the_selection():
    exact(vit(lambda n, r: linear(layer_norm(token(block(n, r)))), mask="gaussian", batch=2))


@pytest.mark.parametrize("axes", [(-1,), (1, 2), (2, 1), (1,)], ids=str)
def test_norm_over_some_axes_behind_the_selection(axes):
    """Trailing ones are left as they are and the others folded; an axis in the middle stays where it is."""

    def head(n, r):
        apart = op.reshape(token(block(n, r)), np.array([0, 2, 3], np.int64), True)
        return linear(
            op.reshape(op.mvn(apart, np.array(axes, np.int64), True, 1e-3, "inside_sqrt"), np.array([0, 6], np.int64), True)
        )

    exact(vit(head, mask="gaussian", batch=2))


def test_a_norm_behind_the_selection_takes_the_change_alone():
    """Of what has the masks in front nothing is put together and taken apart again.

    No MVN, and no sum with an anchor but the last.
    """
    maps, _ = collapsed(vit(lambda n, r: linear(token(layer_norm(block(n, r)))), mask="gaussian"))
    norms = [list(node.get_output_shape(0)) for node in maps.get_ordered_ops() if node.get_type_name() == "MVN"]
    assert norms and all(shape[0] == 1 for shape in norms)


def test_block_without_mlp_read_by_a_mlp_head():
    exact(vit(lambda n, r: mlp(token(block(n, r, mlp_too=False))), mask="gaussian", batch=2))


def test_pre_norm_of_the_block_after_the_gate():
    """A single tensor gated, its norm and everything behind it walked (CLIP's way of cutting)."""
    exact(single(lambda x: linear(token(layer_norm(block(layer_norm(x), x)))), mask="gaussian", batch=2))


def test_layer_scale_and_position_table():
    def head(x):
        x = op.add(x, numbers(1, TOKENS, 6))
        y = op.multiply(block(layer_norm(x), x, mlp_too=False), numbers(6))
        return linear(token(layer_norm(op.add(x, y))))

    exact(single(head, mask="gaussian", batch=2))


def test_rotary_keys():
    """Keys and queries turned by tables with an extent on the tokens: dark tokens are no longer alike."""

    def rotary(x):
        table = numbers(1, 1, TOKENS, 3, seed=60)
        return op.add(
            op.multiply(x, table),
            op.multiply(op.concat([op.gather(x, np.array([2, 0, 1]), np.int64(3))], 3), numbers(1, 1, TOKENS, 3, seed=61)),
        )

    def head(n, r):
        q, k, v = qkv(n)
        out = linear(heads_joined(sdpa(rotary(q), rotary(k), v), 6), 6)
        return linear(token(op.add(r, out)))

    exact(vit(head, mask="gaussian", batch=2))
    exact(vit(head, batch=2))


def test_rotary_without_the_class_token():
    """EVA: the class token is left out, turned patches are put behind it again."""

    def head(n, r):
        def turned(x):
            first, rest = op.variadic_split(x, np.int64(2), np.array([1, TOKENS - 1])).outputs()
            return op.concat([first, op.multiply(rest, numbers(1, 1, TOKENS - 1, 3))], 2)

        q, k, v = qkv(n)
        return linear(token(op.add(r, linear(heads_joined(sdpa(turned(q), turned(k), v), 6), 6))))

    exact(vit(head, mask="gaussian", batch=2))


@pytest.mark.parametrize("mask", MASKS)
def test_registers(mask):
    """More tokens beside the patches than the class token."""
    exact(vit(lambda n, r: linear(token(layer_norm(block(n, r, "gather", sdpa)))), prefix=3, mask=mask, batch=2))


@pytest.mark.parametrize("mask", MASKS)
def test_two_tokens_two_heads_averaged(mask):
    """DeiT distilled."""

    def head(n, r):
        x = layer_norm(block(n, r, "gather", sdpa))
        return op.divide(op.add(linear(token(x, 0), seed=1), linear(token(x, 1), seed=2)), np.float32(2))

    exact(vit(head, prefix=2, mask=mask, batch=2))


def test_two_tokens_read_together():
    def head(n, r):
        x = layer_norm(block(n, r))
        both = op.slice(x, np.array([0]), np.array([2]), np.array([1]), np.array([1]))
        return linear(op.reshape(both, np.array([0, -1]), True))

    exact(vit(head, prefix=2, mask="gaussian", batch=2))


def test_two_tokens_averaged():
    def head(n, r):
        x = layer_norm(block(n, r))
        return linear(mean(op.slice(x, np.array([0]), np.array([2]), np.array([1]), np.array([1])), [1]))

    exact(vit(head, prefix=2, mask="gaussian", batch=2))


@pytest.mark.parametrize("mask", MASKS)
def test_class_token_beside_the_mean_of_patches(mask):
    """DINOv2's linear head on one more block: the patches are asked for too."""

    def head(x):
        x = layer_norm(x)
        patches = op.slice(x, np.array([1]), np.array([TOKENS]), np.array([1]), np.array([1]))
        return linear(op.concat([token(x), mean(patches, [1])], 1))

    exact(single(head, mask=mask, batch=2))


# --- class attention behind the trunk -------------------------------------------------------------


def class_attention(tok, patches, heads=2, seed=70):
    """CaiT: one query from the class token, keys from class token | patches."""
    x = layer_norm(op.concat([tok, patches], 1))
    channels = width(x)
    first = op.slice(x, np.array([0]), np.array([1]), np.array([1]), np.array([1]))
    q = heads_apart(linear(first, channels, seed=seed), heads, 1)
    k, v = (heads_apart(linear(x, channels, seed=seed + i), heads) for i in (1, 2))
    out = linear(heads_joined(decomposed_attention(q, k, v), channels, 1), channels, seed=seed + 3)
    tok = op.add(tok, out)
    return op.add(tok, linear(op.gelu(linear(layer_norm(tok), 7, seed=seed + 4), "erf"), channels, seed=seed + 5))


def learned_token(channels=6, batch=2, seed=80):
    return op.constant(np.repeat(numbers(1, 1, channels, seed=seed), batch, 0))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("blocks", [1, 2])
def test_class_attention(blocks, mask):
    """The second one meets a class token that is mapped already."""

    def head(x):
        tok = learned_token()
        for index in range(blocks):
            tok = class_attention(tok, x, seed=70 + 10 * index)
        return linear(token(layer_norm(op.concat([tok, x], 1))))

    exact(pooling(head, mask=mask, batch=2))


def test_no_product_of_rank_5():
    """ARM's plugin has none in f16."""

    def head(x):
        tok = class_attention(class_attention(learned_token(), x), x, seed=80)
        return linear(token(layer_norm(op.concat([tok, x], 1))))

    built, _ = collapsed(pooling(head, batch=2))
    products = [node for node in built.get_ordered_ops() if node.get_type_name() == "MatMul"]
    assert max(node.get_output_partial_shape(0).rank.get_length() for node in products) == 4


def test_class_attention_behind_a_position_table():
    def head(x):
        x = op.add(x, numbers(1, 12, 6))
        tok = class_attention(class_attention(learned_token(), x), x, seed=90)
        return linear(op.squeeze(tok, np.array([1])))

    exact(pooling(head, batch=2))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("queries", [1, 2])
def test_learned_query_pool(queries, mask):
    def head(x):
        q = heads_apart(op.constant(np.repeat(numbers(1, queries, 6), 2, 0)), 2, queries)
        k, v = (heads_apart(linear(x, 6, seed=i), 2) for i in (2, 3))
        out = heads_joined(sdpa(q, k, v), 6, queries)
        return linear(op.reshape(layer_norm(op.add(out, numbers(6))), np.array([0, -1]), True))

    exact(pooling(head, mask=mask, batch=2))


@pytest.mark.parametrize("mask", MASKS)
def test_query_from_the_mean(mask):
    """CLIP-ResNet: the mean is a token of its own in front, and asks."""

    def head(x):
        rows = op.transpose(op.reshape(x, np.array([0, 6, 12]), True), [0, 2, 1])
        x = op.concat([op.reduce_mean(rows, np.array([1]), True), rows], 1)
        x = op.add(x, numbers(1, TOKENS, 6))
        q, k, v = qkv(x)
        return linear(token(heads_joined(decomposed_attention(q, k, v), 6)))

    compare(case(head, channels=6, mask=mask, batch=2))


@pytest.mark.parametrize("mask", MASKS)
def test_query_from_the_mean_without_positions(mask):
    def head(x):
        x = op.concat([op.reduce_mean(x, np.array([1]), True), x], 1)
        q, k, v = qkv(x)
        return linear(token(heads_joined(decomposed_attention(q, k, v), 6)))

    compare(pooling(head, mask=mask, batch=2))


@pytest.mark.parametrize("mask", MASKS)
def test_softmax_weights_as_a_pool(mask):
    """A score a position, softmax over them, weighted sum (CCT's sequence pool)."""

    def head(x):
        weights = op.softmax(linear(x, 1), 1)
        return linear(op.squeeze(op.matmul(weights, x, True, False), np.array([1])))

    exact(pooling(head, mask=mask, batch=2))


def test_softmax_over_rows_and_columns_of_a_map_is_dense():
    """GCNet's context: softmax over h alone is no row of tokens."""
    refused(case(lambda x: linear(mean(op.multiply(op.softmax(x, 2), x))), batch=2), "Softmax", "rows and columns")


# --- attention that every token reads -------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("attention", ["decomposed", "sdpa", "sdpa, scale"])
def test_mean_pooled_block(attention, mask):
    """The quotient: few classes of tokens with multiplicities instead of all tokens."""

    def head(n, r):
        return linear(mean(layer_norm(block(n, r, "gather", ATTENTIONS[attention])), [1]))

    exact(case(head, layout="NPC", channels=6, taps=2, mask=mask, batch=2))


@pytest.mark.parametrize("mask", MASKS)
def test_two_blocks_and_the_class_token(mask):
    """--blocks 2."""

    def head(n, r):
        x = block(n, r, "gather", sdpa)
        return linear(token(layer_norm(block(layer_norm(x), x, "gather", sdpa))))

    exact(vit(head, mask=mask, batch=2))


@pytest.mark.parametrize("mask", MASKS)
def test_two_blocks_averaged_over_all_tokens(mask):
    def head(n, r):
        x = block(n, r, "gather", sdpa)
        return linear(mean(block(layer_norm(x), x, "gather", sdpa), [1]))

    exact(vit(head, mask=mask, batch=2))


def test_two_blocks_and_the_mean_of_patches_with_dynamic_batch():
    def head(n, r):
        x = block(n, r, "gather", sdpa)
        x = block(layer_norm(x), x, "gather", sdpa)
        return linear(mean(op.slice(x, np.array([1]), np.array([2**31 - 1]), np.array([1]), np.array([1])), [1]))

    exact(vit(head, mask="gaussian", batch=2, dynamic=(0,)))


def rotary_read_by_all(n, r):
    q, k, v = qkv(n)
    q, k = (op.multiply(x, numbers(1, 1, 12, 3)) for x in (q, k))
    return linear(mean(op.add(r, linear(heads_joined(sdpa(q, k, v), 6), 6)), [1]))


QUOTIENT_REFUSED = {
    "a relative bias": lambda n, r: linear(
        mean(block(n, r, attention=partial(decomposed_attention, bias=bias_table(12, 12))), [1])
    ),
    "a position table in between": lambda n, r: linear(mean(block(op.add(n, numbers(1, 12, 6)), r), [1])),
    "a position table behind": lambda n, r: linear(mean(layer_norm(op.add(block(n, r, mlp_too=False), numbers(1, 12, 6))), [1])),
    "rotary": rotary_read_by_all,
    "shifted tokens": lambda n, r: linear(mean(block(op.roll(n, np.array([1]), np.array([1])), r), [1])),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", QUOTIENT_REFUSED)
def test_quotient_refused(name, mask):
    found = compare(case(QUOTIENT_REFUSED[name], layout="NPC", channels=6, taps=2, mask=mask, batch=2))
    assert found.dense


def test_a_causal_attention_is_dense():
    found = compare(vit(lambda n, r: linear(token(block(n, r, attention=partial(sdpa, causal=True)), 5)), batch=2))
    assert found.dense


# --- selections that cut runs open ----------------------------------------------------------------

CUTS = {
    "some patches": lambda x: op.slice(x, np.array([2]), np.array([7]), np.array([1]), np.array([1])),
    "the class token and some patches": lambda x: op.slice(x, np.array([0]), np.array([5]), np.array([1]), np.array([1])),
    "every other token": lambda x: op.slice(x, np.array([0]), np.array([13]), np.array([2]), np.array([1])),
    "tokens out of order": lambda x: op.gather(x, np.array([3, 0, 7]), np.int64(1)),
    "tokens backwards": lambda x: op.slice(x, np.array([-1]), np.array([-100]), np.array([-1]), np.array([1])),
    "a table of tokens": lambda x: op.reshape(op.gather(x, np.array([[0, 1], [5, 2]]), np.int64(1)), np.array([0, 4, 6]), True),
    "strided": lambda x: op.strided_slice(x, np.array([0, 1]), np.array([0, 9]), np.array([1, 3]), [1, 0], [1, 0]),
    "a new axis": lambda x: op.reshape(
        op.strided_slice(x, np.array([0, 0, 0]), np.array([0, 0, 4]), np.array([1, 1, 1]), [1, 1, 0], [1, 1, 0], [0, 1, 0]),
        np.array([0, 4, 6]),
        True,
    ),
    "split unevenly": lambda x: op.variadic_split(x, np.int64(1), np.array([4, 9])).output(0),
    "tokens and channels": lambda x: op.slice(x, np.array([0, 1]), np.array([5, 6]), np.array([1, 1]), np.array([1, 2])),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", CUTS)
def test_selections_that_cut_runs(name, mask):
    found = compare(
        single(lambda x: linear(op.reshape(op.relu(CUTS[name](layer_norm(x))), np.array([0, -1]), True)), mask=mask, batch=2)
    )
    assert found.dense


@pytest.mark.parametrize("name", ["some patches", "the class token and some patches", "tokens out of order"])
def test_cut_and_averaged(name):
    found = compare(single(lambda x: linear(mean(CUTS[name](layer_norm(x)), [1])), mask="gaussian", batch=2))
    assert found.dense


def test_all_runs_at_once():
    """A pool over class token and patches, and products, norms and maxima over both."""
    exact(single(lambda x: linear(mean(op.relu(x), [1])), mask="gaussian", batch=2))
    exact(single(lambda x: linear(op.reduce_max(op.relu(x), np.array([1]), False)), batch=2))
    exact(
        single(
            lambda x: linear(op.reduce_sum(op.concat([op.relu(x), op.constant(numbers(2, 2, 6))], 1), np.array([1]), False)),
            batch=2,
        )
    )


def test_maximum_over_runs_under_gaussian():
    refused(
        single(lambda x: linear(op.reduce_max(op.relu(x), np.array([1]), False)), mask="gaussian", batch=2),
        "ReduceMax",
        "neighbours",
    )


def test_tokens_padded():
    """Pad makes one more run."""
    exact(
        single(
            lambda x: linear(mean(op.relu(op.pad(layer_norm(x), [0, 1, 0], [0, 2, 0], "constant", np.float32(0.5))), [1])),
            mask="gaussian",
            batch=2,
        )
    )


def test_what_tokens_receive():
    """Sums over queries: attention weights read along the other axis."""

    def head(x):
        q, k, _ = qkv(x)
        weights = op.softmax(op.matmul(q, k, False, True), -1)
        return linear(op.reshape(op.reduce_sum(weights, np.array([2]), False), np.array([0, -1]), True))

    refused(single(head, batch=2), "ReduceSum", "two axes of tokens")


def test_patches_as_a_map_again():
    """Class token off, patches back to rows and columns, a pool."""

    def head(x):
        patches = op.slice(layer_norm(x), np.array([1]), np.array([TOKENS]), np.array([1]), np.array([1]))
        grid = op.reshape(op.transpose(patches, [0, 2, 1]), np.array([0, 6, 3, 4]), True)
        return op.add(linear(mean(op.relu(grid))), linear(token(x), seed=9))

    exact(single(head, mask="gaussian", batch=2))


def test_classes_of_the_plain_queries_are_untouched():
    """Queries from a branch that no gate reaches."""

    def head(x):
        other = learned_token()
        q = heads_apart(linear(other, 6), 2, 1)
        k, v = heads_apart(x, 2), heads_apart(op.relu(x), 2)
        return linear(op.squeeze(heads_joined(decomposed_attention(q, k, v), 6, 1), np.array([1])), CLASSES)

    exact(pooling(head, mask="gaussian", batch=2))
