"""Avro schemas by owner and record, ``<owner>/<record>/v<n>.avsc``; never edited once released."""
