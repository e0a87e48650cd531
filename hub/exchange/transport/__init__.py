"""The transport: hands whole chunks of data topics to Faust, one event per chunk.

Chosen by the broker URL ``cityhub://`` (entry point group ``faust.transports``). Owns every touch of Faust's and aiokafka's
private API on the consuming side; does not own offsets (lanes do) nor what is in a chunk (kernels do).
"""

from hub.exchange.transport.chunks import border, split
from hub.exchange.transport.consumer import ChunkSchema, Transport

__all__ = ["ChunkSchema", "Transport", "border", "split"]
