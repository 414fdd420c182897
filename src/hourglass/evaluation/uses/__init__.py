"""The six uses, measured: each estimator as its constructor makes it, beside honest baselines, in one run."""

from hourglass.evaluation.uses.compress import rate_distortion
from hourglass.evaluation.uses.rows import Row, Setting, uses_content, uses_page, uses_table
from hourglass.evaluation.uses.suite import USES, uses_suite

__all__ = ["USES", "Row", "Setting", "rate_distortion", "uses_content", "uses_page", "uses_suite", "uses_table"]
