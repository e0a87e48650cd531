"""The parts of uvicorn's protocol class that hub/api/connections.py extends, under an exact pin: this fails first when it moves."""

import inspect
from importlib.metadata import version

import h11
from uvicorn.protocols.http import h11_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from hub.api.connections import BoundedProtocol


def test_the_pin_is_the_version_that_was_read() -> None:
    """Another version may have moved what is touched: read it before moving the pin."""
    assert version("uvicorn") == "0.54.0"


def test_uvicorn_calls_the_methods_that_are_extended() -> None:
    """Each bound stands in one of them."""
    source = inspect.getsource(h11_impl)
    for name in ("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing"):
        assert hasattr(H11Protocol, name)
        assert name in vars(BoundedProtocol)
    assert "on_response=self.on_response_complete" in source
    assert "self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)" in source


def test_uvicorn_has_what_is_read() -> None:
    """Attributes by name: all connections of a server, the state of this one, and whether its caller reads."""
    source = inspect.getsource(H11Protocol)
    for line in (
        "self.connections = server_state.connections",
        "self.connections.add(self)",
        "self.conn = h11.Connection(",
        "self.transport = transport",
        "self.flow = FlowControl(transport)",
        "self.cycle: RequestResponseCycle",
        "self.loop = _loop",
    ):
        assert line in source
    assert "write_paused" in inspect.getsource(FlowControl)


def test_h11_tells_whose_turn_it_is() -> None:
    """A head in pieces is IDLE with something in the buffer, a body is SEND_BODY, a whole request is DONE."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\n")
    assert connection.next_event() is h11.NEED_DATA
    assert (connection.their_state, bool(connection.trailing_data[0])) == (h11.IDLE, True)
    connection.receive_data(b"Content-Length: 2\r\n\r\n")
    assert isinstance(connection.next_event(), h11.Request)
    assert connection.their_state is h11.SEND_BODY
    connection.receive_data(b"ab")
    assert isinstance(connection.next_event(), h11.Data)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.their_state is h11.DONE
