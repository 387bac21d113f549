"""Where a detector's class logits are, told by how the graph itself reads the channels of its last maps."""
