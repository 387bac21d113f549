"""Where an instance segmentation model hands out boxes, labels, scores and masks."""
