"""How unusual a sample is: evidence learned from normal samples, and synthetic anomalies to weigh it by."""

from hourglass.anomaly.evidence import IMAGE, TABLE, Evidence, Scores
from hourglass.anomaly.features import FeatureDistance
from hourglass.anomaly.maps import BLUR, error_maps
from hourglass.anomaly.power import KNOWN, power_of, weights_by_power
from hourglass.anomaly.surfaces import SURFACE, standardised
from hourglass.anomaly.synthetic import synthetic_images, synthetic_rows
from hourglass.runtime.regions import Region, enlarged, regions_of

EVIDENCE: dict[str, type[Evidence]] = IMAGE | TABLE | SURFACE

__all__ = [
    "BLUR",
    "EVIDENCE",
    "IMAGE",
    "KNOWN",
    "SURFACE",
    "TABLE",
    "Evidence",
    "FeatureDistance",
    "Region",
    "Scores",
    "enlarged",
    "error_maps",
    "power_of",
    "regions_of",
    "standardised",
    "synthetic_images",
    "synthetic_rows",
    "weights_by_power",
]
