"""Connectors: a department's data into the hub: CSV files, and what other packages add.

Owns what moves data between a department's own systems and its topics. Does not own topics, schemas or agreements: those are
asked for. Connectors know ``connectors.kit``, and of the hub the model, the broker and observe; the hub finds a connector by
its entry point (group ``cityhub.sources``) and never imports one.
"""
