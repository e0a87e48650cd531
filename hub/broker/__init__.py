"""Kafka: administration, topics, the embedded broker, record batches, transaction requests and the fence.

Owns everything that speaks Kafka's protocol outside Faust. Does not own what records mean.
"""
