"""Photographs and documents: the field's benchmarks, measured by its protocols."""

from hourglass.evaluation.photos.artefacts import document_rows, jpeg_rows
from hourglass.evaluation.photos.compression import CODECS, Codec, Point, compression_rows, rate_distortion_curve
from hourglass.evaluation.photos.denoising import add_noise, denoising_rows
from hourglass.evaluation.photos.enlarging import FILTERS, enlarging_rows, reduced
from hourglass.evaluation.photos.models import ROLES, role_of
from hourglass.evaluation.photos.protocols import Result, luma
from hourglass.evaluation.photos.published import published_curves, published_results
from hourglass.evaluation.photos.sets import documents, photographs, training_photographs
from hourglass.evaluation.photos.suite import PARTS, Photos, photos_suite
from hourglass.evaluation.photos.tables import LAYOUT, part_table, photos_content, photos_page

__all__ = [
    "CODECS",
    "FILTERS",
    "LAYOUT",
    "PARTS",
    "ROLES",
    "Codec",
    "Photos",
    "Point",
    "Result",
    "add_noise",
    "compression_rows",
    "denoising_rows",
    "document_rows",
    "documents",
    "enlarging_rows",
    "jpeg_rows",
    "luma",
    "part_table",
    "photographs",
    "photos_content",
    "photos_page",
    "photos_suite",
    "published_curves",
    "published_results",
    "rate_distortion_curve",
    "reduced",
    "role_of",
    "training_photographs",
]
