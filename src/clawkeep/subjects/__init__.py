"""What a host looks like: one typed, frozen model per subject, read from the evidence that was collected.

`table.SUBJECTS` names those that are fixtures of the conformance suite. A subject is a class with
`read(host: HostEvidence) -> Self`.
"""
