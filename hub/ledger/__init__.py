"""The ledger: from usage steps to bills, exactly.

Owns the collector of hub.usage, the chains and hourly sums in SQL, tariffs and rating, the preview of bills, and the check of
three counts that know nothing of each other. Does not deliver or meter, and does not own agreements: terms come as arguments.

Invariants: the position in hub.usage and everything its records change move in one SQL transaction; a chain moves by its own
next step or not at all; a bill is a function of usage, terms and tariffs, rounded once per line. Hourly sums are a projection of
hub.usage, which is kept for ever: closing an hour into postings that never change belongs to double entry, a later issue.
"""
