"""The ledger: from usage steps to bills, exactly.

Owns the collector of hub.usage, hourly usage rows, rating, and the check of three independent counts. Does not deliver or meter.
"""
