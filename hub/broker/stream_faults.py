"""What may be wrong with a compressed stream."""


class CorruptStream(ValueError):  # noqa: N818 - what the bytes are
    """The bytes are no such stream."""


class StreamTooLarge(ValueError):  # noqa: N818 - what the bytes are
    """The stream decompresses to more than the bound, or asks for more memory."""
