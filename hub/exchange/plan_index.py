"""What the obeyed entries of hub.plan say, kept so that a change of one looks at what it is about and at nothing else."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from hub.model.entry import AgreementBody, Body, DatasetBody, KeysBody, SchemaBody
from hub.model.records import PlanEntry


class Known(NamedTuple):
    """An entry that is obeyed."""

    entry: PlanEntry
    body: Body
    offset: int


class PlanIndex:
    """The newest obeyed entry of each object, and the objects by what they are about."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._known: dict[bytes, Known] = {}
        self._datasets: dict[bytes, DatasetBody] = {}
        self._agreements: dict[str, dict[bytes, None]] = {}
        self._schemas: dict[bytes, SchemaBody] = {}
        self._texts: dict[int, str] = {}
        self._keys: dict[bytes, KeysBody] = {}
        self.touched: set[str] = set()
        """Datasets that an entry was about since they were last compiled."""

    def get(self, key: bytes) -> Known | None:
        """Return what is known of an object."""
        return self._known.get(key)

    def put(self, key: bytes, known: Known) -> None:
        """Know this of an object from now on."""
        before = self._known.get(key)
        if before is not None:
            self._forget(key, before.body, known.body)
        self._known[key] = known
        match known.body:
            case AgreementBody() as body:
                self._agreements.setdefault(body.terms.dataset, {})[key] = None
                self.touched.add(body.terms.dataset)
            case DatasetBody() as body:
                self._datasets[key] = body
                self.touched.add(body.dataset)
            case SchemaBody() as body:
                self._schemas[key] = body
                self._texts[body.schema_id] = body.schema
            case KeysBody() as body:
                self._keys[key] = body

    def datasets(self) -> list[tuple[Known, DatasetBody]]:
        """Return the entries of datasets."""
        return [(self._known[key], body) for key, body in self._datasets.items()]

    def agreements(self, dataset: str) -> list[Known]:
        """Return the entries of the agreements on a dataset."""
        return [self._known[key] for key in self._agreements.get(dataset, ())]

    def key_checks(self) -> list[KeysBody]:
        """Return the check values of master keys."""
        return list(self._keys.values())

    def schemas(self, *, without: Collection[bytes]) -> Mapping[int, str]:
        """Return the schemas by id, but those of the objects ``without``."""
        if self._schemas.keys().isdisjoint(without):
            return self._texts
        return {body.schema_id: body.schema for key, body in self._schemas.items() if key not in without}

    def _forget(self, key: bytes, old: Body, new: Body) -> None:
        """Take an object out of where it is not any more; where it stays it keeps its place."""
        if isinstance(old, AgreementBody) and isinstance(new, AgreementBody) and old.terms.dataset != new.terms.dataset:
            del self._agreements[old.terms.dataset][key]
            self.touched.add(old.terms.dataset)
        elif isinstance(old, DatasetBody):
            self.touched.add(old.dataset)
        elif isinstance(old, SchemaBody):
            self._texts.pop(old.schema_id, None)
