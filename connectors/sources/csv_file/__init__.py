"""CSV files of a folder.

Owns encoding, rows, headers, the journal of files taken and the rows set aside. Invariants: a file is known by its content; it
is in the journal before a position names it; what is published of it follows from its bytes, the schema and the settings alone.
"""

from connectors.sources.csv_file.source import CsvFileSource

__all__ = ["CsvFileSource"]
