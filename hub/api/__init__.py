"""The face for programs: a Confluent-compatible schema registry at the root, and the hub's own API under ``/v1``.

Owns routes, wire forms and the serve process (its lock, threads and end). Does not own any rule: handlers call the application
and write down its answer. Everything listens on 127.0.0.1 until identity has come.
"""
