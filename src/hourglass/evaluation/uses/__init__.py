"""Evaluation of the six uses: each estimator with its default arguments, compared with baselines in the same run."""

from hourglass.evaluation.uses.compress import rate_distortion
from hourglass.evaluation.uses.measurements import Measurement, Setting, uses_content, uses_page, uses_table
from hourglass.evaluation.uses.suite import EVALUATIONS, uses_suite

__all__ = ["EVALUATIONS", "Measurement", "Setting", "rate_distortion", "uses_content", "uses_page", "uses_suite", "uses_table"]
