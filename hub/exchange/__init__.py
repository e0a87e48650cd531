"""The exchange: Faust workers that carry records across under agreements, exactly once.

Owns the worker, the lane (transactional writer of one source partition), the transport of whole chunks, the plan intake and
compiler, and the kernels. Does not own agreements (it reads them signed from hub.plan) nor the ledger (it writes hub.usage).
Invariants: laws 1-4 of ARCHITECTURE.md; nothing is delivered that is not metered in the same Kafka transaction.
"""
