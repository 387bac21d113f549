"""How good maps are: metrics on arrays, which need neither a model nor files."""

from ovxai.evaluation.fidelity import Fidelity, fidelity, map_correlation
from ovxai.evaluation.localisation import energy, energy_over_area, pointing

__all__ = ["Fidelity", "energy", "energy_over_area", "fidelity", "map_correlation", "pointing"]
