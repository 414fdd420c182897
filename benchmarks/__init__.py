"""The benchmark of the library: what training, inference and start-up cost, beside peers measured in the same run.

It is not part of the wheel. Run `make performance`, or `python -m benchmarks` from the root of a checkout.

This package imports nothing: a peer's process loads what the peer needs, and its memory is measured.
"""
