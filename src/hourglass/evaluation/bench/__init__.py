"""The benchmark: what training, applying and starting cost, beside peers that are measured in the same run.

Nothing is imported here: a peer's process holds what the peer needs, and its memory is measured.
"""
