"""Agreements: the file, the lifecycle, signatures, and publishing to hub.plan.

Owns the one writer of hub.plan: SQL, then append, then fence if a right narrows, then done. Does not deliver.
"""
