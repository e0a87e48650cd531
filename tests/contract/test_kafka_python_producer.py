"""kafka-python's private parts that the publisher touches: this fails first when the pin moves."""

import inspect
from importlib.metadata import version

from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import TransactionalRequestResult, TransactionManager

from connectors.kit.publisher import PRIVATE


def test_the_pin_is_the_one_that_was_looked_at() -> None:
    """With another version: read its transaction manager, run the kill tests, then change this line."""
    assert version("kafka-python") == "3.0.12"


def test_every_private_name_is_there() -> None:
    """Each part takes what it is given and returns something that can be waited for with a bound."""
    owners = {"_transaction_manager": TransactionManager, "_sender": Sender}
    for path in PRIVATE:
        owner, name = path.split(".")
        assert callable(getattr(owners[owner], name)), path
    assert list(inspect.signature(TransactionManager.send_offsets_to_transaction).parameters)[1:] == ["offsets", "group_metadata"]
    assert "timeout_ms" in inspect.signature(TransactionalRequestResult.wait).parameters
