"""The catalogue: dataset entries and the schema registry with its static gate.

Owns which datasets exist, which schemas their records have, and whether a schema is fit for the hub. Does not publish to hub.plan.
"""
