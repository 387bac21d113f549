"""INT8 by NNCF, with the explanation put on after the quantisation and its fidelity shown."""

from ovxai.quantization.quantize import QuantizeOptions, QuantizeReport, Side, quantize

__all__ = ["QuantizeOptions", "QuantizeReport", "Side", "quantize"]
