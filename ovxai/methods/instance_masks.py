"""InstSeg: for each class the mean over its instances of (binary mask * score), inside the graph and without loops.

Box masks are pasted onto the grid all at once: `Ry (gh x mh) @ mask @ Rx^T (mw x gw)`, with bilinear weights made
from the boxes (`pasting.py`). Full-size masks and prototypes only need resizing. Then one product with the one-hot
labels.
"""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from ovxai.find.site import BOX, FULL, INSTANCE_MASKS, PROTOTYPES, Candidates, Instances, InstanceSite
from ovxai.graph.dims import ints, number, whole_number
from ovxai.graph.graph import Graph
from ovxai.graph.names import name_of
from ovxai.metadata import INSTANCE_SEGMENTATION, ExplainedInfo
from ovxai.methods.outputs import Branch, as_float, chosen_classes, feature_map, feature_vector, resized
from ovxai.methods.pasting import STRIDE, PasteGrid, Table, covered, in_steps, paste, paste_grid
from ovxai.methods.suppression import BEST, kept, length, picked_rows
from ovxai.options import InsertOptions
from ovxai.version import __version__


def build(graph: Graph, site: InstanceSite, options: InsertOptions) -> Branch:
    """Add the map's nodes behind the instances of `site`, in the model that it was instances in.

    Raises:
        OptionError: a class that the model does not have.
    """
    instances = site.instances
    grid = paste_grid(site, options)
    scale = picture_sides(site) if site.shares else None
    if isinstance(instances, Instances):
        table = unified(instances, grid, scale)
    else:
        table = suppressed(instances, site.classes, scale)
    threshold = number(0.5 if not site.logits or site.mask_kind == BOX else 0.0)
    # Less and not Greater wherever a NaN may stand: the CPU plugin (2026.4) holds NaN > x for true.
    inside = op.less(threshold, pasted(site, table, grid)).output(0)
    if site.mask_kind == PROTOTYPES:
        inside = op.logical_and(inside, covered(table.boxes, grid)).output(0)
    saliency, index = chosen_classes(class_means(table, inside, grid, site.classes), options.asked_classes, site.classes)
    features = feature_map(graph, site)
    return Branch(
        saliency=saliency,
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        index=index,
        info=information(site, options),
        notes=site.notes,
    )


def picture_sides(site: InstanceSite) -> ov.Output:
    """f32 [4]: width, height, width, height of the picture in pixels."""
    down, across = site.picture_axes
    sides = op.gather(op.shape_of(site.picture, "i64"), ints([across, down, across, down]), whole_number(0))
    return op.convert(sides, "f32").output(0)


def unified(instances: Instances, grid: PasteGrid, scale: ov.Output | None = None) -> Table:
    """Every family in one form: a batch axis in front, boxes, labels, scores apart, masks [N, I, h, w] as f32.

    scale: what boxes are multiplied with to come in pixels.
    """

    def batched(port: ov.Output) -> ov.Output:
        return port if instances.batched else op.unsqueeze(port, ints([0])).output(0)

    def column(port: ov.Output, which: int | None) -> ov.Output:
        port = batched(port)
        return port if which is None else op.gather(port, whole_number(which), whole_number(2)).output(0)

    def four(port: ov.Output) -> ov.Output:
        return op.slice(batched(port), ints([0]), ints([4]), ints([1]), ints([2])).output(0)

    raw = instances.boxes
    if scale is not None:
        start, stop = ints([0]), ints([4])
        raw = op.slice(raw, start, stop, ints([1]), ints([len(raw.get_partial_shape()) - 1])).output(0)
        raw = op.multiply(op.convert(raw, "f32"), scale).output(0)
    boxes = four(raw)
    masks = batched(instances.masks)
    if instances.mask_columns is not None:
        masks = op.slice(
            masks, ints([instances.mask_columns[0]]), ints([instances.mask_columns[1]]), ints([1]), ints([2])
        ).output(0)
    elif instances.singleton:
        masks = op.squeeze(masks, ints([2])).output(0)
    return Table(
        op.convert(boxes, "f32").output(0),
        op.convert(column(instances.labels, instances.label_column), "i64").output(0),
        op.convert(column(instances.scores, instances.score_column), "f32").output(0),
        op.convert(masks, "f32").output(0),
        four(in_steps(raw, grid)),
    )


def pasted(site: InstanceSite, table: Table, grid: PasteGrid) -> ov.Output:
    """[N, I, gh, gw]: every instance's mask on the grid: probabilities (BOX, FULL) or logits (FULL, PROTOTYPES)."""
    if site.mask_kind == BOX:
        masks = op.sigmoid(table.masks).output(0) if site.logits else table.masks
        return paste(masks, table, grid)
    if site.mask_kind == FULL:
        return shrunk(table.masks, grid)
    return mixed(table.masks, resized(op.convert(site.prototypes, "f32").output(0), grid.size), grid)


def shrunk(masks: ov.Output, grid: PasteGrid) -> ov.Output:
    """Full-size masks [N, I, H, W] on the grid. One channel each, so that the plugin need not reorder the memory."""
    shape = op.shape_of(masks, "i64")
    lead, sides = (op.gather(shape, ints(axes), whole_number(0)) for axes in ((0, 1), (2, 3)))
    many = op.reduce_prod(lead, ints([0]), keep_dims=True)
    single = op.reshape(masks, op.concat([many, ints([1]), sides], 0), False).output(0)
    return op.reshape(resized(single, grid.size), op.concat([lead, grid.size], 0), False).output(0)


def mixed(coefficients: ov.Output, prototypes: ov.Output, grid: PasteGrid) -> ov.Output:
    """[N, I, M] x [N, M, gh, gw] -> logits [N, I, gh, gw]."""
    flat = op.reshape(prototypes, ints([0, 0, -1]), True)
    logits = op.matmul(coefficients, flat, False, False)
    return op.reshape(logits, op.concat([ints([0, 0]), grid.size], 0), True).output(0)


def class_means(table: Table, inside: ov.Output, grid: PasteGrid, classes: int) -> ov.Output:
    """[N, K, gh, gw]: mean over a class's instances of mask * score; zeros for a class without instances.

    Padding (no extent, no score, negative label) is taken out by Select: a product would hand on its NaNs.
    Scores go with the labels, so that the large side of the one product holds nothing but zeros and ones.
    """
    valid = real_ones(table)
    score = op.unsqueeze(op.select(valid, table.scores, number(0.0)), ints([1]))
    label = op.unsqueeze(op.select(valid, table.labels, whole_number(-1)), ints([1]))
    hot = op.convert(op.equal(label, op.reshape(ints(range(classes)), ints([1, classes, 1]), False)), "f32")
    count = op.maximum(op.reduce_sum(hot, ints([2]), keep_dims=True), number(1.0))
    share = op.divide(op.multiply(hot, score), count)
    flat = _flat(op.convert(inside, "f32"), grid)
    if table.boxes.get_partial_shape()[1].is_dynamic:
        share, flat = _with_one_more(share, 2), _with_one_more(_counted(flat, table.boxes), 1)
    return op.reshape(op.matmul(share, flat, False, False), op.concat([ints([0, classes]), grid.size], 0), True).output(0)


def _flat(inside: ov.Node, grid: PasteGrid) -> ov.Node:
    """[N, I, gh, gw] -> [N, I, gh * gw]."""
    return op.reshape(inside, op.concat([ints([0, 0]), op.reduce_prod(grid.size, ints([0]), keep_dims=True)], 0), True)


def _counted(flat: ov.Node, boxes: ov.Output) -> ov.Node:
    """The rows again, as many as there are boxes.

    A mask that a loop has made may claim at least one instance and then have none (torchvision's does), at which
    the CPU plugin stops in the next operation; what is gathered makes no such claim.
    """
    rows = op.gather(op.shape_of(boxes, "i64"), whole_number(1), whole_number(0))
    each = op.range(whole_number(0), rows, whole_number(1), "i64")
    return op.gather(flat, each, whole_number(1))


def real_ones(table: Table) -> ov.Output:
    """bool [N, I]: instances with an extent, a score and a label."""
    x1, y1, x2, y2 = (op.gather(table.boxes, whole_number(i), whole_number(2)) for i in range(4))
    extent = op.logical_and(op.less(x1, x2), op.less(y1, y2))
    named = op.logical_and(op.less(number(0.0), table.scores), op.greater_equal(table.labels, whole_number(0)))
    return op.logical_and(extent, named).output(0)


def _with_one_more(port: ov.Node, axis: int) -> ov.Node:
    """One row of zeros more, so that a picture without instances is no product over nothing."""
    begin, end = [0, 0, 0], [0, 0, 0]
    end[axis] = 1
    return op.pad(port, ints(begin), ints(end), "constant", number(0.0))


def information(site: InstanceSite, options: InsertOptions) -> ExplainedInfo:
    """What rt_info will say."""
    instances, features = site.instances, site.pyramid
    ports = [instances.boxes, instances.labels, instances.masks] if isinstance(instances, Instances) else [instances.table]
    if site.prototypes is not None:
        ports.append(site.prototypes)
    sides = [site.picture.get_partial_shape()[axis] for axis in site.picture_axes]
    own = "x".join(str(max(side.get_length() // STRIDE, 1)) for side in sides) if all(s.is_static for s in sides) else ""
    return ExplainedInfo(
        version=__version__,
        task=INSTANCE_SEGMENTATION,
        method=INSTANCE_MASKS,
        target_layers=tuple(dict.fromkeys(name_of(port) for port in ports)),
        feature_layer=name_of(features[len(features) // 2]) if features else "",
        layout="NCHW",
        collapse="exact",
        box_unit="share" if site.shares else "pixel",
        classes=options.asked_classes,
        num_classes=site.classes,
        map_size=options.map_size or own,
        explained_output=site.output,
        score_output=site.score_output,
        score_activation="none",
        prediction_format=site.prediction_format,
    )


# Raw candidates of YOLO-seg to the best instances of each picture: NonMaxSuppression and TopK, no loop.


def suppressed(raw: Candidates, classes: int, scale: ov.Output | None = None) -> Table:
    """The best 100 instances of each picture, in the form of `unified`, scale as there; padding has score 0."""
    table = as_float(raw.table)
    table = table if raw.rows_last else op.transpose(table, ints([0, 2, 1])).output(0)  # [N, C, P]
    centre, extent, scores, coefficients = _columns(table, raw, classes)
    half = op.multiply(extent, number(0.5))
    corners = op.concat([op.subtract(centre, half), op.add(centre, half)], 1)
    boxes = op.transpose(corners, ints([0, 2, 1]))
    if scale is not None:
        boxes = op.multiply(boxes, scale)
    left = kept(boxes, scores, raw.iou, raw.score)
    flat = op.reshape(left, ints([0, -1]), True)
    best = op.topk(flat, op.minimum(length(flat), whole_number(BEST)), 1, "max", "value", index_element_type="i64")
    places = op.gather(op.shape_of(scores, "i64"), whole_number(2), whole_number(0))
    labels = op.divide(best.output(1), places)
    rows = op.mod(best.output(1), places)
    masks = picked_rows(op.transpose(coefficients, ints([0, 2, 1])), rows, raw.coefficients)
    return Table(picked_rows(boxes, rows, 4), labels.output(0), best.output(0), masks)


def _columns(table: ov.Output, raw: Candidates, classes: int) -> tuple[ov.Node, ov.Node, ov.Node, ov.Node]:
    start = 5 if raw.objectness else 4
    cuts = [(0, 2), (2, 4), (start, start + classes), (start + classes, start + classes + raw.coefficients)]
    centre, extent, scores, coefficients = (op.slice(table, ints([a]), ints([b]), ints([1]), ints([1])) for a, b in cuts)
    if raw.objectness:
        scores = op.multiply(scores, op.slice(table, ints([4]), ints([5]), ints([1]), ints([1])))
    return centre, extent, scores, coefficients
