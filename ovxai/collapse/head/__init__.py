"""The end of a classifier's head: maps from its rows, one per class, and only those of the classes asked for."""
