"""What each operation does to places: a few lines per family, put together in `ovxai.trace.table`."""
