"""What a host looks like: one typed, frozen model per subject, read from the evidence that was collected.

`SUBJECTS` names the fixtures of the conformance suite. A subject is a class with `read(host: HostEvidence) -> Self`.
"""

from __future__ import annotations

SUBJECTS: dict[str, type] = {}
