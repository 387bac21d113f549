"""The definition, computed the slow way on the plain model: it shares no code with what inserts."""

from ovxai.verification.judgement import precision_here, precision_of_file, verify
from ovxai.verification.precision import PrecisionReport, measure_precision
from ovxai.verification.report import Check, PictureRow, VerifyReport

__all__ = [
    "Check",
    "PictureRow",
    "PrecisionReport",
    "VerifyReport",
    "measure_precision",
    "precision_here",
    "precision_of_file",
    "verify",
]
