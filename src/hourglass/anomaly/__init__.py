"""How unusual a sample is: evidence learned from normal samples, and synthetic anomalies to weigh it by."""

from hourglass.anomaly.evidence import EVIDENCE, IMAGE, TABLE, Evidence, Scores
from hourglass.anomaly.power import power_of, weights_by_power
from hourglass.anomaly.regions import Region, enlarged, regions_of
from hourglass.anomaly.synthetic import synthetic_rows

__all__ = [
    "EVIDENCE",
    "IMAGE",
    "TABLE",
    "Evidence",
    "Region",
    "Scores",
    "enlarged",
    "power_of",
    "regions_of",
    "synthetic_rows",
    "weights_by_power",
]
