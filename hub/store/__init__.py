"""The store: SQL tables and engines, and the key files of the state folder.

Owns every table definition, how an engine is opened (SQLite embedded, PostgreSQL in production) and the files of keys.
Does not own what rows mean: rooms above write them. SQL errors never carry parameters.
"""
