"""The definition, computed the slow way on the plain model: it shares no code with what inserts."""

from ovxai.verification.judgement import verify
from ovxai.verification.report import Check, PictureRow, VerifyReport

__all__ = ["Check", "PictureRow", "VerifyReport", "verify"]
