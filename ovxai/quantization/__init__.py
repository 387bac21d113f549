"""INT8 by NNCF, with the explanation put on after the quantisation and its fidelity shown."""

from ovxai.quantization.quantize import QuantizeOptions, quantize
from ovxai.quantization.report import QuantizeReport, Side

__all__ = ["QuantizeOptions", "QuantizeReport", "Side", "quantize"]
