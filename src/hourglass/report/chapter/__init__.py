"""The textbook's chapter on autoencoders: an experiment for each of its claims and exercises."""

from hourglass.report.chapter.laboratory import Laboratory, Topic
from hourglass.report.chapter.run import TOPICS, run_chapter

__all__ = ["TOPICS", "Laboratory", "Topic", "run_chapter"]
