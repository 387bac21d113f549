"""Other people's engines, each in a module of its own that needs its own extra; nothing in the package imports them."""
