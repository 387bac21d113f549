"""Mutated files, random heads and faults, by seed: what `scripts/fuzz.py` feeds to ovxai."""
