"""A small store to sweep: referrals written by hand, and what the alerts about them say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.watch import Policy, Standing, sweep
from fhir_coprod.watch.rules import policies

DAY = timedelta(days=1)
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


class Hospital:
    """One store under watch."""

    def __init__(self, store: Store, policy: Policy | None = None) -> None:
        self.store = store
        self.policy = policy or policies.load("default")
        self.settings = Settings()

    def put(self, *resources: dict[str, Any]) -> None:
        for data in resources:
            self.store.write(lambda t, data=data: t.put(jsontext.from_data(data), data["id"]))

    def refer(self, id: str = "r", *, authored: datetime = MONDAY, **more: Any) -> None:
        """A referral, and a Task to orthopaedics that was requested at the same time."""
        self.put(
            {
                "resourceType": "ServiceRequest",
                "id": id,
                "status": "active",
                "intent": "order",
                "subject": {"reference": f"Patient/of-{id}"},
                "requester": {"reference": "PractitionerRole/gp"},
                "authoredOn": authored.isoformat(),
                **more,
            }
        )
        self.task(id, "requested", authored)

    def task(self, id: str, status: str, at: datetime, **more: Any) -> None:
        self.put(
            {
                "resourceType": "Task",
                "id": f"task-{id}",
                "status": status,
                "intent": "order",
                "focus": {"reference": f"ServiceRequest/{id}"},
                "owner": {"reference": "Organization/ortho"},
                "lastModified": at.isoformat(),
                **more,
            }
        )

    def tell(self, id: str, at: datetime) -> None:
        self.put(
            {
                "resourceType": "Communication",
                "id": f"told-{id}-{at:%m%d%H}",
                "status": "completed",
                "subject": {"reference": f"Patient/of-{id}"},
                "about": [{"reference": f"ServiceRequest/{id}"}],
                "recipient": [{"reference": f"Patient/of-{id}"}],
                "sent": at.isoformat(),
            }
        )

    def sweep(self, now: datetime) -> list[Standing]:
        return sweep(self.store, self.policy, now, self.settings)

    def all(self, type: str) -> list[dict[str, Any]]:
        page = self.store.search(Query.parse(type, [("_count", "1000")]))
        return [version.data for version in page.matches]

    def issues(self, status: str = "preliminary") -> dict[str, dict[str, Any]]:
        """DetectedIssues by rule."""
        return {
            issue["code"]["coding"][0]["code"]: issue
            for issue in self.all("DetectedIssue")
            if issue["status"] == status
        }

    def followups(self, *statuses: str) -> list[dict[str, Any]]:
        return [
            task
            for task in self.all("Task")
            if "owner" in task
            and task.get("code", {}).get("coding", [{}])[0].get("code") == "stall-followup"
            and (not statuses or task["status"] in statuses)
        ]

    def head(self) -> int:
        return self.store.head()
