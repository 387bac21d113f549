"""From the outputs of a model to classes, scores, boxes and masks."""
