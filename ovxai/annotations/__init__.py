"""What people wrote down about pictures: read from the usual formats into one form, names matched to a model's."""

from ovxai.annotations.facts import AnnotatedPicture, AnnotationSet, TrueObject
from ovxai.annotations.names import NameMatch, match_names
from ovxai.annotations.read import is_data_root, read_annotations

__all__ = [
    "AnnotatedPicture",
    "AnnotationSet",
    "NameMatch",
    "TrueObject",
    "is_data_root",
    "match_names",
    "read_annotations",
]
