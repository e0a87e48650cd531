"""Seeing: metrics, log keys and health, each declared once.

Owns the metric catalogue, JSON logs and the /livez, /readyz, /metrics server. Never holds a personal value: classes and counts only.
"""
