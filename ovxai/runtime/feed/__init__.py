"""From what the user names to the tensors of a compiled model, and back to named arrays."""
