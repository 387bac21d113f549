"""Which tensor is the feature map, by which method, for every family of classifier."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers.requests import request
from ovxai.errors import OptionError, TargetLayerError, UnsupportedModelError
from ovxai.find.classifier.search import find_classifier
from ovxai.find.site import No
from ovxai.graph.graph import Graph


def site_of(model, **options):
    site = find_classifier(request(model, **options))
    assert not isinstance(site, No), site.reason
    return site


def names(site):
    return [tap.name for tap in site.taps]


def facts(site):
    tap = site.taps[0]
    return site.method, site.mask, tap.layout, tap.grid, tap.prefix


@pytest.mark.parametrize("batch", [1, 2, -1])
def test_cnn(batch):
    site = site_of(toys.cnn(batch))
    assert names(site) == ["features"] and facts(site) == ("reciprocam", "point", "NCHW", (3, 4), 0)


def test_cnn_with_dynamic_sides():
    site = site_of(toys.cnn(-1, (-1, -1)))
    assert names(site) == ["features"] and site.taps[0].layout == "NCHW"


def test_grey_pictures():
    assert names(site_of(toys.cnn(channels=1))) == ["features"]


def test_nhwc():
    site = site_of(toys.nhwc())
    assert names(site) == ["last_norm"] and facts(site)[2:] == ("NHWC", (3, 4), 0)


def test_a_norm_behind_the_pool_is_no_map():
    assert names(site_of(toys.convnext())) == ["features"]


@pytest.mark.parametrize("model", [toys.vgg, toys.vgg_of_timm])
def test_vgg(model):
    site = site_of(model())
    assert names(site) == ["features"] and facts(site) == ("reciprocam", "point", "NCHW", (3, 4), 0)


@pytest.mark.parametrize("batch", [1, -1])
@pytest.mark.parametrize("prefix", [1, 2, 5])
def test_class_token(prefix, batch):
    """The last block's normalised input first, then its residual input; the class token and those beside it ungated."""
    site = site_of(toys.vit(batch, prefix))
    assert names(site) == ["block1_norm", "block1_input"]
    assert facts(site) == ("vit-reciprocam", "gaussian", "NPC", (3, 4), prefix)


def test_blocks_before_the_end():
    assert names(site_of(toys.vit(depth=3), blocks=2)) == ["block1_norm", "block1_input"]
    assert names(site_of(toys.vit(depth=3), blocks=3)) == ["block0_norm", "block0_input"]


def test_more_blocks_than_there_are():
    model = toys.vit(depth=2)
    reason = find_classifier(request(model, blocks=3))
    assert isinstance(reason, No) and "2" in reason.reason and "3" in reason.reason


def test_clip():
    assert names(site_of(toys.clip())) == ["block1_norm", "block1_input"]


def test_mean_pooled_transformer():
    site = site_of(toys.mean_pooled_vit())
    assert names(site) == ["last"] and facts(site) == ("reciprocam", "point", "NPC", (3, 4), 0)
    asked = site_of(toys.mean_pooled_vit(), method="vit-reciprocam")
    assert names(asked) == ["block1_norm", "block1_input"] and facts(asked)[:2] == ("vit-reciprocam", "gaussian")


@pytest.mark.parametrize("blocks", [1, 2])
def test_class_attention(blocks):
    """The patches as the trunk left them, for every class attention after it."""
    site = site_of(toys.class_attention(blocks))
    assert names(site) == ["trunk_end"] and facts(site) == ("reciprocam", "point", "NPC", (3, 4), 0)


def test_attention_pool():
    site = site_of(toys.attention_pool())
    assert names(site) == ["trunk_end"] and facts(site)[:2] == ("reciprocam", "point")


ALL = {
    "cnn": toys.cnn, "nhwc": toys.nhwc, "convnext": toys.convnext, "vgg": toys.vgg, "vgg of timm": toys.vgg_of_timm,
    "vit": toys.vit, "distilled": lambda: toys.vit(prefix=2), "clip": toys.clip, "mean pooled": toys.mean_pooled_vit,
    "class attention": toys.class_attention, "attention pool": toys.attention_pool, "two outputs": toys.two_outputs,
    "several inputs": toys.several_inputs,
}  # fmt: skip


@pytest.mark.parametrize("family", ALL)
def test_every_family_is_exact_and_verified(family):
    from ovxai.verification import verify

    wanted = 0 if family == "two outputs" else None
    model = ovxai.insert(ALL[family](), output=wanted, probe=False, scale=False)
    assert model.get_rt_info(["ovxai", "collapse"]).astype(str) == "exact"
    assert verify(model).ok


# --- which output, which input --------------------------------------------------------------------


def test_several_inputs_of_which_one_is_the_picture():
    assert names(site_of(toys.several_inputs())) == ["features"]
    assert names(site_of(toys.two_pictures(), output="scores")) == ["features"]


@pytest.mark.parametrize("wish, index, classes", [("fine", 1, 5), (1, 1, 5), ("1", 1, 5), ("coarse", 0, 3)])
def test_output(wish, index, classes):
    model = ovxai.insert(toys.two_outputs(), output=wish, probe=False)
    assert model.output("saliency_map").get_partial_shape() == ov.PartialShape([1, classes, 3, 4])
    assert model.get_rt_info(["ovxai", "score_output"]).astype(str) == ("coarse", "fine")[index]


def test_two_heads_that_are_equally_likely():
    with pytest.raises(ovxai.UnsupportedModelError, match=r"coarse \(3 values\) and fine \(5 values\).*output="):
        ovxai.insert(toys.two_outputs())


def test_labels_tell_outputs_apart():
    model = ovxai.insert(toys.two_outputs(), labels=("a", "b", "c", "d", "e"), probe=False)
    assert model.get_rt_info(["ovxai", "score_output"]).astype(str) == "fine"


def test_an_output_that_is_not_there():
    with pytest.raises(OptionError, match="no output named 'finest'; nearest: fine, coarse"):
        ovxai.insert(toys.two_outputs(), output="finest")
    with pytest.raises(OptionError, match=r"no output 7.*has 2"):
        ovxai.insert(toys.two_outputs(), output=7)


# --- refusals, in words ---------------------------------------------------------------------------


def test_a_regression_is_refused():
    with pytest.raises(UnsupportedModelError, match="single number"):
        ovxai.insert(toys.regression(), task="classification")


def test_a_segmentation_model_is_refused():
    with pytest.raises(UnsupportedModelError, match="not one score per class"):
        ovxai.insert(toys.segmentation(), task="classification")


@pytest.mark.parametrize("task", ["auto", "classification"])
def test_a_model_without_a_picture_is_refused(task):
    with pytest.raises(UnsupportedModelError, match=r"no input takes a picture.*1,16"):
        ovxai.insert(toys.without_a_picture(), task=task)


@pytest.mark.parametrize("model", [toys.regression, toys.segmentation])
def test_refused_by_auto_too(model):
    with pytest.raises(UnsupportedModelError, match=r"as classification|a segmentation model"):
        ovxai.insert(model())


def test_unknown_target_layer_names_the_nearest():
    with pytest.raises(TargetLayerError, match=r"'feature'.*nearest: .*features"):
        ovxai.insert(toys.cnn(), target_layer="feature")


def test_target_layer_without_positions():
    with pytest.raises(TargetLayerError, match=r"'logits' of shape .* no positions.*features \(3x4\)"):
        ovxai.insert(toys.cnn(), target_layer="logits")


def test_target_layer_behind_which_only_the_class_token_is_read():
    model = toys.vit()
    last = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Add" and list(node.output(0).get_partial_shape()) == [1, 13, 6]
    ][-1]
    last.set_friendly_name("behind_the_last_block")
    with pytest.raises(TargetLayerError, match="only tokens beside the grid"):
        ovxai.insert(model, target_layer="behind_the_last_block")


def test_target_layer_that_the_scores_do_not_depend_on():
    with pytest.raises(TargetLayerError, match="do not depend on"):
        ovxai.insert(toys.two_pictures(), output="scores", target_layer="reference")


@pytest.mark.parametrize("family, layer", [("cnn", "features"), ("vit", "block1_input"), ("vit", "block0_norm")])
def test_target_layer(family, layer):
    model = ovxai.insert(ALL[family](), target_layer=layer, probe=False)
    assert model.get_rt_info(["ovxai", "target_layers"]).astype(str) == layer


def test_two_target_layers():
    model = ovxai.insert(toys.vit(), target_layer=("block1_norm", "block1_input"), probe=False)
    plain = ovxai.insert(toys.vit(), probe=False)
    random = np.random.default_rng(0).standard_normal((1, 3, *toys.SIZE)).astype(np.float32)
    maps = [
        ov.Core().compile_model(one, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(random)["saliency_map"] for one in (model, plain)
    ]
    np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("turned_first", [False, True])
def test_of_two_passes_the_one_that_sees_the_picture_as_it_is(turned_first):
    """Test-time flipping: the mirrored pass has a grid as well, from right to left."""
    model = toys.flipped_too(turned_first)
    site = site_of(model)
    above = Graph(model).ancestors([site.taps[0].port.get_node()])
    assert not any(node.get_type_name() == "Slice" and node.get_name() in above for node in model.get_ops())
    assert site.taps[0].grid == (3, 4)


def test_colours_turned_round_are_no_turned_picture():
    model = toys.cnn()
    image = model.get_parameters()[0]
    readers = list(image.output(0).get_target_inputs())
    turned = op.slice(image, np.array([-1]), np.array([-9]), np.array([-1]), np.array([1]))
    for reader in readers:
        reader.replace_source_output(turned.output(0))
    model.validate_nodes_and_infer_types()
    assert names(site_of(model)) == ["features"]


def test_a_gram_matrix_is_no_row_of_tokens():
    """Bilinear pooling: channels x channels, six of which would be a grid of 2 x 3 that nothing wrote."""
    image = toys.picture()
    rows = op.reshape(toys.trunk(image), np.array([0, 6, -1]), True)
    gram = op.relu(op.matmul(rows, rows, False, True))
    site = site_of(toys.finished(toys.linear(op.reshape(gram, np.array([0, -1]), True)), image))
    assert site.taps[0].grid == (3, 4)


def test_a_stem_of_parallel_branches_still_ends_the_picture():
    """No convolution is passed by everything; what is [N, C, 1, 1] far below is no picture."""
    image = toys.picture()
    x = toys.named(op.relu(op.add(toys.conv(image, 6, 8, 8, seed=1), toys.conv(image, 6, 8, 8, seed=2))), "features")
    site = site_of(toys.finished(toys.linear(toys.flat(toys.mean(x, keep=True))), image))
    assert names(site) == ["features"] and site.taps[0].grid == (3, 4)
