"""What Prometheus is told, by its own client library."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of the client library, set where several workers share their figures through files."""
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1, 2, 5, 10, 30)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LABELS = ("model", "use")


class Metrics:
    """The figures of one worker."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("hourglass_requests", "Requests answered.", (*_LABELS, "status"), registry=registry)
        self.seconds = Histogram(
            "hourglass_request_seconds", "Time from request to answer.", _LABELS, buckets=_SECONDS, registry=registry
        )
        self.waited = Histogram("hourglass_queue_seconds", "Time in the queue.", _LABELS, buckets=_SECONDS, registry=registry)
        self.model_seconds = Histogram(
            "hourglass_model_seconds", "Time of a call of the model.", _LABELS, buckets=_SECONDS, registry=registry
        )
        self.batch = Histogram("hourglass_batch_images", "Images in a call.", _LABELS, buckets=_COUNTS, registry=registry)
        self.under_way = Gauge(
            "hourglass_requests_under_way", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self.loads = Counter("hourglass_model_loads", "Models loaded.", ("model", "outcome"), registry=registry)
        self.loaded = Gauge(
            "hourglass_model_loaded_timestamp_seconds",
            "When the model was loaded.",
            ("model",),
            registry=registry,
            multiprocess_mode="livemin",
        )

    def text(self) -> bytes:
        """All figures, of all workers, in Prometheus's text format."""
        if FOLDER not in os.environ:
            return generate_latest(self.registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
