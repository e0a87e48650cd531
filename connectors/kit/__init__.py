"""What every source needs: the contract and its file, positions, the encoding of records, the publisher and the runner.

Owns the transactional producer, the position of a connector and the words of the contract. Does not own where rows come from:
that is a source's.
"""
