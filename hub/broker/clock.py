"""The broker's clock, asked without writing anything: a quorum's leader states the present moment as its own last contact."""

import time

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from hub.broker.admin import ANSWER_WITHIN_MS, REQUEST_TIMEOUT_MS
from hub.broker.security import security
from hub.model.errors import HubError


def skew_ms(bootstrap: str) -> int:
    """Return how far the broker's clock is ahead of this machine's, less than half a round trip off; HUB-BROKER-001 or -010.

    DescribeQuorum (KIP-836) answers with each voter's last caught-up time, the leader's being the leader's clock.
    """
    client = None
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap,
            client_id="cityhub-clock",
            bootstrap_timeout_ms=ANSWER_WITHIN_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            **security(bootstrap),
        )
        client.describe_metadata_quorum()
        before_ms = time.time() * 1000
        quorum = client.describe_metadata_quorum()["topics"][0]["partitions"][0]
        after_ms = time.time() * 1000
    except KafkaError as error:
        code = "HUB-BROKER-001" if client is None else "HUB-BROKER-010"
        raise HubError(code, f"`{bootstrap}` did not tell the time: {type(error).__name__}", "look at the broker's log") from error
    finally:
        if client is not None:
            client.close()
    leader = next(voter for voter in quorum["current_voters"] if voter["replica_id"] == quorum["leader_id"])
    return int(leader["last_caught_up_timestamp"] - (before_ms + after_ms) / 2)
