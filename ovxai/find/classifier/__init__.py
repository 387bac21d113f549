"""Where a classifier's scores read the feature map, and which tensors of its trunk could be gated."""
