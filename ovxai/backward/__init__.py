"""A backward pass as ordinary operations: the derivative of chosen scores by tensors of the same graph."""
