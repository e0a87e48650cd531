"""The transport: hands whole chunks of data topics to Faust, one event per chunk."""
