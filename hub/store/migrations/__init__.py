"""How the tables came to be what they are: one linear history of revisions, each a file of ``versions``, run by Alembic.

A revision holds its own copies of the tables that it makes or changes, and imports nothing of the hub: what it did to a database
years ago it must do to the next one. It is never edited once released. A new one is a new file: the number before, plus one.
"""
