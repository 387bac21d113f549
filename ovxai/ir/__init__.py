"""The only rooms that do surgery on a graph: read, attach outputs, strip them, save."""
