"""The store: engines and their doors, acts, revisions of the tables, the lease of the one writer, and the key files of the state folder.

Owns how an engine is opened (SQLite embedded, PostgreSQL by setting), how a database is brought up to date, and who may write to it.
Does not own what rows mean: rooms above define their tables and write them. SQL errors never carry parameters.
"""
