"""From low-resolution maps to pictures that people look at."""
