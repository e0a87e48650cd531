"""Values and rules of the hub: no I/O, no clock, no globals.

Owns the words of docs/reference/glossary.md as frozen values (dataset, agreement, plan entry, usage step, position, money, tariff),
the rules that follow from the values alone (lifecycle, conservation, names of topics, signing bytes) and the coded errors.
Does not own Kafka, SQL, files or time: those are arguments. Every other room may import this one; it imports none.
"""
