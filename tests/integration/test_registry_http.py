"""The registry over HTTP, as clients of that ecosystem speak it; foreign serialisers work against it where they are installed."""

import importlib.util
import io
import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from hall import AGREEMENT, DATASET, ENTRY, VEHICLE, hall_settings, until
from kafka import KafkaProducer
from ledger_steps import Writer, entry

from hub.api.server import Serve
from hub.broker.embedded import EmbeddedBroker
from hub.ledger.show import show_chains
from hub.model.names import Names
from hub.model.records import encode_usage_step
from hub.state import initialise

pytestmark = pytest.mark.broker
JSON = "application/vnd.schemaregistry.v1+json"
FOREIGN = all(importlib.util.find_spec(name) for name in ("authlib", "cachetools", "certifi"))


class Running:
    """A serve in a thread of this process."""

    def __init__(self, serve: Serve) -> None:
        """Start it and wait until it leads."""
        self.serve = serve
        self.thread = threading.Thread(target=serve.run)
        self.thread.start()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{serve.port}", timeout=30, trust_env=False)
        until(self.ready, within_s=60)
        self.subject = serve.hub.names.dept_subject(DATASET)

    def ready(self) -> bool:
        """Tell whether it leads."""
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Stop it."""
        self.client.close()
        self.serve.stop()
        self.thread.join(timeout=30)


@pytest.fixture(scope="module")
def running(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give a serve with one published dataset and its agreement."""
    state: Path = tmp_path_factory.mktemp("registry") / "state"
    settings = hall_settings(bootstrap=broker.bootstrap, names=Names(scope="339901", prefix="registry."), state=state)
    initialise(settings)
    built = Running(Serve(settings))
    sent = {"text": ENTRY, "file": "d.yaml", "schema": json.dumps(VEHICLE)}
    assert built.client.post("/v1/datasets", json=sent).status_code == 200
    assert built.client.post(f"/v1/datasets/{DATASET}/publish").status_code == 200
    assert built.client.post("/v1/agreements", content=AGREEMENT.encode()).json()["outcome"] == "drafted"
    assert built.client.post("/v1/agreements/parking-vehicles/sign").json()["state"] == "active"
    yield built
    built.close()


def post(running: Running, path: str, schema: Any, **more: Any) -> httpx.Response:
    """Post a schema as clients do."""
    body = {"schema": schema if isinstance(schema, str) else json.dumps(schema), **more}
    return running.client.post(path, content=json.dumps(body), headers={"Content-Type": JSON})


def error_of(response: httpx.Response) -> tuple[int, int]:
    """Return the status and Confluent's error code."""
    assert response.headers["content-type"] == JSON
    return response.status_code, response.json()["error_code"]


def test_a_registered_schema_is_found_by_subject_version_id_and_content(running: Running) -> None:
    """The four ways that serialisers and deserialisers ask."""
    client, subject = running.client, running.subject
    assert post(running, f"/subjects/{subject}/versions", VEHICLE).json() == {"id": 1}
    version = {"subject": subject, "version": 1, "id": 1, "schema": json.dumps(VEHICLE)}
    assert post(running, f"/subjects/{subject}", VEHICLE).json() == version
    assert client.get(f"/subjects/{subject}/versions/1").json() == version
    assert client.get(f"/subjects/{subject}/versions/latest").json()["subject"] == subject
    assert json.loads(client.get("/schemas/ids/1").json()["schema"]) == VEHICLE
    assert client.get("/schemas/ids/1").headers["content-type"] == JSON
    assert client.get(f"/subjects/{subject}/versions").json()[0] == 1
    assert client.get("/schemas/ids/1/versions").json() == [{"subject": subject, "version": 1}]
    assert subject in client.get("/subjects").json()


def test_what_an_agreement_delivers_has_its_schema_too(running: Running) -> None:
    """A consumer needs nothing but the registry to read its topic."""
    found = running.client.get("/subjects/registry.share.parking-office.parking-vehicles-value/versions/latest").json()
    assert [field["name"] for field in json.loads(found["schema"])["fields"]] == ["plate", "phone"]


def test_the_hubs_own_records_are_found_by_their_ids(running: Running) -> None:
    """Auditors read hub.usage with foreign tools."""
    assert json.loads(running.client.get("/schemas/ids/2000000002").json()["schema"])["name"] == "UsageStep"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", (404, 404)),
        ("DELETE", "/subjects/x", (405, 405)),
        ("GET", "/schemas/ids/999", (404, 40403)),
        ("GET", "/schemas/ids/2000000999", (404, 40403)),
        ("GET", "/subjects/unknown-value/versions", (404, 40401)),
        ("GET", "/subjects/unknown-value/versions/latest", (404, 40401)),
        ("GET", "/subjects/{subject}/versions/99", (404, 40402)),
        ("GET", "/subjects/{subject}/versions/newest", (422, 42202)),
        ("GET", "/subjects/{subject}/versions/0", (422, 42202)),
        ("GET", "/schemas/ids/99999999999999999999", (404, 40403)),
        ("GET", "/schemas/ids/one", (422, 42201)),
    ],
)
def test_what_is_not_there_is_answered_in_their_form(running: Running, method: str, path: str, expected: tuple[int, int]) -> None:
    """Clients decide by the error code."""
    assert error_of(running.client.request(method, path.format(subject=running.subject))) == expected


def test_refused_schemas_are_answered_in_their_form(running: Running) -> None:
    """The gate, compatibility, and subjects of no dataset."""
    path = f"/subjects/{running.subject}/versions"
    incompatible = {**VEHICLE, "fields": [{"name": "plate", "type": "int"}]}
    assert error_of(post(running, path, "not avro")) == (422, 42201)
    assert error_of(running.client.post(path, content=b"{")) == (422, 42201)
    assert error_of(post(running, path, VEHICLE, schemaType="PROTOBUF")) == (422, 42201)
    assert error_of(post(running, path, VEHICLE, references=[{"name": "a", "subject": "b", "version": 1}])) == (422, 42201)
    assert error_of(post(running, path, incompatible)) == (409, 409)
    assert error_of(post(running, "/subjects/unknown-value/versions", VEHICLE)) == (422, 42205)
    assert error_of(post(running, f"/subjects/{running.subject}", incompatible)) == (404, 40403)
    assert error_of(post(running, "/subjects/unknown-value", VEHICLE)) == (404, 40401)


def test_a_schema_in_other_words_is_the_one_that_is_known(running: Running) -> None:
    """What Avro's parser for Java prints of a steward's file, looked up and registered: one id and one version, normalised or not."""
    subject = running.subject
    name = f"{VEHICLE['namespace']}.{VEHICLE['name']}"
    fields = [{**field, "type": {"type": field["type"]}, "order": "ascending"} for field in VEHICLE["fields"]]
    words = {"fields": fields, "name": name, "type": "record"}
    before = running.client.get(f"/subjects/{subject}/versions").json()
    assert post(running, f"/subjects/{subject}", words).json()["id"] == 1
    assert post(running, f"/subjects/{subject}?normalize=true", words).json()["schema"] == json.dumps(VEHICLE)
    assert post(running, f"/subjects/{subject}/versions", words).json() == {"id": 1}
    dry = running.client.post("/v1/schemas?dry_run=true", json={"dataset": DATASET, "schema": json.dumps(words)}).json()
    assert (dry["schema_id"], dry["new"]) == (1, False)
    assert running.client.get(f"/subjects/{subject}/versions").json() == before


@pytest.mark.parametrize(
    ("member", "value"),
    [("id", 7), ("version", 2), ("metadata", {"properties": {"a": "b"}}), ("ruleSet", {"domainRules": []}), ("schemaTagsToAdd", [{}])],
)
@pytest.mark.parametrize("door", ["/subjects/{}/versions", "/subjects/{}", "/compatibility/subjects/{}/versions/latest"])
def test_a_member_that_the_registry_does_not_act_on_is_refused_by_name(running: Running, door: str, member: str, value: Any) -> None:
    """What is passed over in silence is believed to be done; null, or nothing, asks for nothing."""
    path = door.format(running.subject)
    refused = post(running, path, VEHICLE, **{member: value})
    assert error_of(refused) == (422, 42201)
    assert f"`{member}`" in refused.json()["message"]
    assert post(running, path, VEHICLE, **{member: None}, references=[]).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "query", "named"),
    [
        ("GET", "/subjects", "deletedOnly=true", "deletedOnly"),
        ("GET", "/subjects", "limit=many", "limit"),
        ("GET", "/subjects/{}/versions/latest", "format=resolved", "format"),
        ("GET", "/schemas/ids/1", "fetchMaxId=true", "fetchMaxId"),
        ("GET", "/schemas/ids/1", "subjectPrefix=x", "subjectPrefix"),
        ("GET", "/config", "permanent=true", "permanent"),
        ("POST", "/subjects/{}", "normalize=perhaps", "normalize"),
        ("POST", "/subjects/{}/versions", "force=true", "force"),
    ],
)
def test_a_query_that_the_registry_does_not_act_on_is_refused_by_name(
    running: Running, method: str, path: str, query: str, named: str
) -> None:
    """Each with the parameters that are obeyed there."""
    response = running.client.request(
        method, f"{path.format(running.subject)}?{query}", content=json.dumps({"schema": json.dumps(VEHICLE)})
    )
    assert error_of(response) == (422, 42201)
    assert f"`{named}`" in response.json()["message"]


def test_what_is_no_word_of_that_api_is_refused_without_being_repeated(running: Running) -> None:
    """A value may stand where a name should."""
    told = running.client.get("/subjects?110101199003070011=x")
    assert (error_of(told), "1101" in told.text) == ((422, 42201), False)
    told = post(running, f"/subjects/{running.subject}", VEHICLE, **{"110101199003070011": 1})
    assert (error_of(told), "1101" in told.text) == ((422, 42201), False)


def test_what_clients_spell_out_and_what_is_obeyed_passes(running: Running) -> None:
    """The queries that Confluent's clients send, and prefixes and pages of lists."""
    client, subject = running.client, running.subject
    every = client.get("/subjects?deleted=false&deleted_only=false&offset=0&limit=-1").json()
    assert len(every) >= 2
    assert client.get(f"/subjects?subjectPrefix=:*:{subject}").json() == [subject]
    assert client.get("/subjects?subjectPrefix=nobody").json() == []
    assert client.get("/subjects?offset=1&limit=1").json() == every[1:2]
    assert client.get(f"/subjects/{subject}/versions?offset=0&limit=1").json() == [1]
    assert client.get(f"/schemas/ids/1?subject={subject}&format=&fetchMaxId=false").status_code == 200
    assert client.get("/schemas/ids/1/versions?offset=0&limit=-1&deleted=false").json() == [{"subject": subject, "version": 1}]
    assert client.get("/schemas/ids/1/subjects?offset=1").json() == []
    assert client.get("/config?defaultToGlobal=true").status_code == 200
    assert post(running, f"/subjects/{subject}?normalize=False&deleted=true", VEHICLE, version=-1).status_code == 200
    assert post(running, f"/compatibility/subjects/{subject}/versions/latest?verbose=true", VEHICLE).status_code == 200
    assert "`schemaType`" in post(running, f"/subjects/{subject}", VEHICLE, schemaType="JSON").json()["message"]
    assert "schemaType" in client.post(f"/subjects/{subject}", content=b'{"schema": 7}').json()["message"]


def test_a_name_that_avro_forbids_is_refused_and_never_a_fault_of_the_server(running: Running) -> None:
    """Once in, it stood in the way of every later version."""
    path = f"/subjects/{running.subject}/versions"
    enum = {"name": "kind", "type": {"type": "enum", "name": "类别", "symbols": ["A"]}, "default": "A"}
    for schema in ({**VEHICLE, "name": "车辆"}, {**VEHICLE, "namespace": "部门"}, {**VEHICLE, "fields": [*VEHICLE["fields"], enum]}):
        for door in (path, f"/subjects/{running.subject}", f"/compatibility{path}/latest"):
            assert error_of(post(running, door, schema)) == (422, 42201)


def test_compatibility_can_be_asked_before_registering(running: Running) -> None:
    """FULL_TRANSITIVE, for every subject."""
    path = f"/compatibility/subjects/{running.subject}/versions/latest"
    wider = {**VEHICLE, "fields": [*VEHICLE["fields"], {"name": "b", "type": "string", "default": ""}]}
    assert post(running, path, wider).json() == {"is_compatible": True}
    assert post(running, path, {**VEHICLE, "fields": [{"name": "b", "type": "string"}]}).json()["is_compatible"] is False
    assert running.client.get("/config").json() == {"compatibilityLevel": "FULL_TRANSITIVE"}
    assert running.client.get(f"/config/{running.subject}").json() == {"compatibilityLevel": "FULL_TRANSITIVE"}
    share = running.serve.hub.names.share_subject(consumer="parking-office", agreement="parking-vehicles")
    assert running.client.get(f"/config/{share}").json() == {"compatibilityLevel": "NONE"}, "an agreement may grant anything else"
    assert running.client.get("/schemas/types").json() == ["AVRO"]


def test_refusals_of_the_hubs_own_api_are_problems_with_code_place_and_fix(running: Running) -> None:
    """RFC 9457, with the same words as the command line."""
    response = running.client.post("/v1/agreements", content=AGREEMENT.replace("tariff", "tarif").encode())
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    found = response.json()
    assert found["code"] == "HUB-AGREE-001"
    assert {"where": "request:10", "field": "tarif", "message": "unknown key", "fix": "did you mean `tariff`?"} in found["problems"]


def test_an_unknown_path_of_the_hubs_own_api_is_a_problem(running: Running) -> None:
    """Each face speaks its own form."""
    response = running.client.get("/v1/nowhere")
    assert (response.status_code, response.json()["code"]) == (404, "HUB-API-002")
    unread = running.client.post("/v1/agreements/parking-vehicles/end?dry_run=perhaps")
    assert (unread.json()["code"], "perhaps" in unread.text) == ("HUB-API-001", False)
    assert running.client.post("/v1/agreements/parking-vehicles/burn").json()["code"] == "HUB-API-002"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/agreements/parking-vehicles/end?dry-run=true"),
        ("POST", "/v1/agreements/parking-vehicles/end?dry_run=true&dryrun=true"),
        ("POST", "/v1/agreements?dryrun=true"),
        ("GET", "/v1/agreements?consumer=parking-office"),
        ("GET", "/v1/lanes?topic=x"),
        ("GET", "/v1/acts?subject=x"),
    ],
)
def test_a_parameter_that_a_route_does_not_know_is_refused(running: Running, method: str, path: str) -> None:
    """A misspelt `dry_run` would be the act itself."""
    response = running.client.request(method, path, content=AGREEMENT.encode() if method == "POST" else None)
    assert response.json()["code"] == "HUB-API-001"
    assert running.client.get("/v1/agreements/parking-vehicles").json()[0]["state"] == "active"


def test_a_member_that_a_body_of_the_hubs_own_api_does_not_have_is_refused(running: Running) -> None:
    """Written in the wrong place, `dry_run` would be the act itself."""
    for path, sent in (
        ("/v1/schemas", {"dataset": DATASET, "schema": "{}"}),
        ("/v1/datasets", {"text": ENTRY}),
        ("/v1/agreements", {"text": AGREEMENT}),
    ):
        assert running.client.post(path, json={**sent, "dry_run": True}).json()["code"] == "HUB-API-001"


def test_a_body_past_the_bound_is_refused(running: Running) -> None:
    """Nothing unbounded."""
    response = running.client.post("/v1/agreements", content=b"x" * (512 * 1024 + 1))
    assert response.json()["code"] == "HUB-API-001"


def test_health_metrics_and_the_list_of_paths_are_there(running: Running) -> None:
    """Operations staff and people without the internet."""
    client = running.client
    assert client.get("/livez").text == "live\n"
    assert "[+]role ok" in client.get("/readyz?verbose").text
    assert 'cityhub_acts_total{act="sign.agreement",outcome="done"}' in client.get("/metrics").text
    assert "/v1/agreements/{agreement_id}/{step}" in client.get("/v1/docs").text


def test_listing_shows_state_and_terms(running: Running) -> None:
    """What the command line prints, over HTTP."""
    (dataset,) = running.client.get("/v1/datasets").json()
    (agreement,) = running.client.get("/v1/agreements/parking-vehicles").json()
    assert (dataset["dataset"], dataset["state"]) == (DATASET, "published")
    assert (agreement["state"], agreement["valid_until"]) == ("active", "2050-12-31 24:00 +08:00")
    assert running.client.get("/v1/agreements/nobody").json()["code"] == "HUB-AGREE-002"


@pytest.mark.skipif(not FOREIGN, reason="confluent-kafka's registry client needs its own extras: install `.[dev]`")
def test_confluents_own_serialiser_and_deserialiser_work_against_it(running: Running) -> None:
    """Departments bring the clients that they have."""
    from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - needs its extras
    from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer  # noqa: PLC0415 - same
    from confluent_kafka.serialization import MessageField, SerializationContext  # noqa: PLC0415 - same

    registry = SchemaRegistryClient({"url": f"http://127.0.0.1:{running.serve.port}"})
    context = SerializationContext(running.serve.hub.names.dept(DATASET), MessageField.VALUE)
    row = {"plate": "浙A12345", "class": "passenger", "phone": None}
    framed = AvroSerializer(registry, json.dumps(VEHICLE))(row, context)
    assert framed[:5] == b"\x00\x00\x00\x00\x01"
    assert fastavro.schemaless_reader(io.BytesIO(framed[5:]), fastavro.parse_schema(dict(VEHICLE)), None) == row
    assert AvroDeserializer(registry)(framed, context) == row
    assert registry.get_latest_version(running.subject).schema_id == 1
    assert registry.get_subjects()


def test_acts_are_listed_shown_and_paged(running: Running) -> None:
    """Newest first, bounded, with the same filters as the command; the anchor follows while serve leads."""
    signed = running.client.get("/v1/acts", params={"object": "parking-vehicles", "act": "sign", "outcome": "done"}).json()["acts"]
    rows = running.client.get(f"/v1/acts/{signed[0]['act_id']}").json()
    page = running.client.get("/v1/acts", params={"limit": 1}).json()

    assert [row["outcome"] for row in rows] == ["intended", "done"]
    assert page["next_before"] == page["acts"][0]["seq"]
    assert running.client.get("/v1/acts/nothing").json()["code"] == "HUB-ACTS-003"
    assert running.client.get("/v1/acts", params={"since": "yesterday"}).json()["code"] == "HUB-API-001"
    assert running.client.get("/v1/acts", params={"limit": 501}).status_code in {400, 422}
    until(lambda: running.serve.hub.verify_acts().anchored == running.serve.hub.verify_acts().acts)


def test_publishing_anew_is_recorded_from_its_intent_to_its_outcome(running: Running) -> None:
    """By whom, for which connector; an act is settled once, and one that was never begun is not."""
    begun = running.client.post("/v1/connectors/flights/anew", json={"dataset": DATASET}).json()["act"]
    path = f"/v1/connectors/flights/anew/{begun}"

    assert running.client.post(path, json={"outcome": "done"}).status_code == 200

    assert running.client.post(path, json={"outcome": "done"}).json()["code"] == "HUB-ACTS-003"
    rows = running.client.get(f"/v1/acts/{begun}").json()
    assert [(row["act"], row["object_id"], row["outcome"]) for row in rows] == [
        ("anew.connector", "flights", "intended"),
        ("anew.connector", "flights", "done"),
    ]
    assert running.client.post("/v1/connectors/flights/anew", json={"dataset": "a/b"}).json()["code"] == "HUB-DATASET-003"


def test_a_chain_of_a_topic_that_is_gone_is_resumed_on_a_persons_word_and_that_is_an_act(running: Running) -> None:
    """After the database was lost nobody else can know that the topic was a dataset's."""
    hub = running.serve.hub
    writer = Writer(topic_id=uuid.uuid4(), topic=hub.names.dept(DATASET), scope=hub.names.scope)
    step = writer.next(entry("parking-vehicles", delivered=3))
    producer = KafkaProducer(bootstrap_servers=hub.settings.bootstrap)
    producer.send(hub.names.usage, key=step.key, value=encode_usage_step(step)).get(15)
    producer.close()
    chain = f"{writer.topic_id}/0"
    until(lambda: show_chains(hub.engine, scope=hub.names.scope, held_only=True).rows)

    refused = running.client.post("/v1/ledger/resume", json={"chain": chain}).json()
    found = running.client.post("/v1/ledger/resume", json={"chain": chain, "dataset": DATASET}).json()
    again = running.client.post("/v1/ledger/resume", json={"chain": chain}).json()

    assert (refused["code"], found["posted"], found["held_at"], again["posted"]) == ("HUB-LEDGER-009", 1, None, 0)
    acts = running.client.get("/v1/acts", params={"object": chain}).json()["acts"]
    assert [row["outcome"] for row in acts] == ["done", "intended", "failed", "intended"]
