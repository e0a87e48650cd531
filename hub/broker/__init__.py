"""Kafka: administration, topics, the embedded broker, record batches, transaction requests and the fence.

Owns everything that speaks Kafka's protocol outside Faust. Does not own what records mean. Invariants: every wait is bounded; an
answer that passes by itself is never taken for an absent topic; no bytes can crash or swell a reader; a folder has one Kafka.
"""
