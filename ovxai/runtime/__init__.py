"""Runs explained models: pictures in (feed), what they say (predict), how it looks (show), files out (write)."""
