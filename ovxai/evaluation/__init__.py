"""How good maps are: metrics on arrays, which need neither a model nor files."""

from ovxai.evaluation.metrics import Fidelity, energy, energy_over_area, fidelity, map_correlation, pointing

__all__ = ["Fidelity", "energy", "energy_over_area", "fidelity", "map_correlation", "pointing"]
