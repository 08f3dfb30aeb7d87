"""Evaluate observed hosts: run the conformance suite over them in a pytest of its own, and decide every control.

The suite is pure functions of evidence, so this needs no host: `clawkeep verify` observes first, a replay reads a
bundle, a unit test hands in worlds of its own making. It may be called from inside a pytest run.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clawkeep.base import clock, repo
from clawkeep.base.errors import ClawkeepError
from clawkeep.base.verdict import Question, Status, Unmeasured
from clawkeep.evidence.document import digest
from clawkeep.evidence.observation import Observation
from clawkeep.register import register
from clawkeep.register.register import Control, Proof
from clawkeep.subjects.measurement import Measurement
from clawkeep.verify import attestations, waivers
from clawkeep.verify.exceptions import Files, Papers
from clawkeep.verify.plugin import INSIDE, MODEL, Evaluation, Outcome
from clawkeep.verify.report import Excerpt, HostRow, Report, Result

# The worst test decides a control; it is not applicable only when every test says so.
WORST_FIRST = (Status.FAIL, Status.ERROR, Status.INCONCLUSIVE, Status.MANUAL, Status.PASS, Status.NOT_APPLICABLE)
SHOWN_EXCERPTS = 8  # citations of one result that are kept; the bundle has the rest

# What a run of the suite does not need, and an embedding pytest run must not be touched by.
_WITHOUT = (
    *("cacheprovider", "terminal", "junitxml", "pastebin", "doctest", "unittest", "stepwise", "setuponly", "setupplan"),
    *("faulthandler", "warnings", "logging", "threadexception", "unraisableexception", "debugging", "capture"),
    "subtests",
)


@dataclass(frozen=True)
class Selection:
    """What is asked for: control ids (none: all of the register), the inside vantage alone, turns of the agents."""

    controls: tuple[str, ...] = ()
    inside_only: bool = False
    turns: bool = True

    def asks(self, vantage: str) -> bool:
        """Whether tests with that vantage run."""
        return vantage == INSIDE or (not self.inside_only and (self.turns or vantage != MODEL))


EVERYTHING = Selection()


def evaluate(
    observations: Sequence[Observation],
    selection: Selection = EVERYTHING,
    *,
    checkout: repo.Repo | None = None,
    started: str | None = None,
    papers: Papers | None = None,
) -> Report:
    """Judge every selected control on every observed host, then let attestations answer and waivers excuse.

    `papers` must have been reviewed against these very hosts. `started` is when the judging began (now, if not given):
    it decides which waivers and attestations are in force, and nothing else. A host is judged by when it was measured.
    Raises ClawkeepError when there is no host, no such control, or nothing to run: those are never an empty report.
    """
    began = started or clock.now()  # noqa: TID251 - when somebody judges: waivers stand or not on that day
    checkout = checkout or repo.find()
    if not observations:
        raise ClawkeepError("no host was given: nothing was verified")
    everything = register.load(checkout.controls)
    chosen = select(everything, selection.controls)
    evaluation = Evaluation(chosen, observations, frozenset(everything), selection.asks)
    run_suite(evaluation, checkout.suite, checkout.root)
    left_out = _left_out(evaluation, chosen)
    judged = [control for control in chosen.values() if control.id not in left_out]
    if not judged:
        raise ClawkeepError("every selected control needs a vantage that was not asked for: nothing was verified")
    hosts = [observation.host for observation in observations]
    papers = papers or Files().review(everything, hosts, observations[0].site, clock.day(began))
    answers = _Answers(papers)
    results = tuple(_results(judged, observations, evaluation, answers))
    applied = waivers.apply(results, papers.waivers, papers.hosts, papers.today, evaluation.left_out.keys())
    return Report(
        version=importlib.metadata.version("clawkeep"),
        started=began,
        finished=clock.now(),  # noqa: TID251 - told, and judged by nobody
        hosts=tuple(_row(observation) for observation in observations),
        results=applied.results,
        planned=tuple(control.id for control in everything.values() if control.proof is Proof.PLANNED),
        left_out=left_out,
        warnings=(*applied.warnings, *answers.warnings),
        objections=(*papers.objections, *applied.objections),
    )


def _row(observation: Observation) -> HostRow:
    host, measured = observation.host, ""
    if observation.evidence is not None:
        with contextlib.suppress(Unmeasured):
            measured = clock.written(observation.evidence.subject(Measurement).began)
    return HostRow(host.name, host.tier.name, observation.reached, observation.message, measured)


def select(controls: Mapping[str, Control], wanted: Iterable[str]) -> dict[str, Control]:
    """The controls that can be judged, or of them those that are wanted; raises ClawkeepError for an unknown id."""
    ready = {name: control for name, control in controls.items() if control.proof is not Proof.PLANNED}
    chosen = {}
    for name in wanted:
        if name not in controls:
            raise ClawkeepError(f"there is no control {name}: `clawkeep controls list` names them all")
        if name not in ready:
            raise ClawkeepError(f"the control {name} is planned: it has no proof yet")
        chosen[name] = ready[name]
    chosen = chosen or ready
    if not chosen:
        raise ClawkeepError("the register has no control that can be judged")
    return chosen


def run_suite(evaluation: Evaluation, suite: Path, root: Path) -> None:
    """Run the tests below `suite` with the evaluation's eyes; results are left in `evaluation`."""
    if not suite.is_dir():
        raise ClawkeepError(f"there is no conformance suite {suite}")
    options = [
        f"--rootdir={root}",
        f"--confcutdir={root}",  # neither lists the folders above the checkout nor runs a conftest.py that lies there
        f"-c{os.devnull}",
        "--import-mode=importlib",
        "--strict-markers",
        "--disable-plugin-autoload",
        *(word for name in _WITHOUT for word in ("-p", f"no:{name}")),
        "-p",
        "clawkeep.verify.plugin",
        "--continue-on-collection-errors",
    ]
    said = io.StringIO()
    with _plain_environment(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main([*options, str(suite)], plugins=[evaluation])
    if status is pytest.ExitCode.INTERRUPTED and not evaluation.broken:
        raise KeyboardInterrupt
    if status in {pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR}:
        last = said.getvalue().strip().splitlines()[-1:] or ["it said nothing"]
        raise ClawkeepError(f"pytest broke while it ran the suite: {last[0]}")


@contextlib.contextmanager
def _plain_environment() -> Iterator[None]:
    """Without the variables by which a shell gives pytest options: they could thin out the suite unseen."""
    names = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST")
    saved = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(saved)


def _left_out(evaluation: Evaluation, controls: Mapping[str, Control]) -> tuple[str, ...]:
    """Controls that only tests with another vantage prove, when those were not asked for."""
    ran = {outcome.control for outcome in evaluation.outcomes}
    return tuple(name for name in controls if name in evaluation.left_out and name not in ran)


class _Answers:
    """What attestations say to the tests that ask a person; keeps the warnings about those that end soon."""

    def __init__(self, papers: Papers) -> None:
        self.papers = papers
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings)

    def to(self, outcome: Outcome, observation: Observation) -> Outcome:
        """The outcome as it is when a person has been asked."""
        if outcome.question is None:  # no test asked a person
            return outcome
        told = self.papers.attested(outcome.control, outcome.host)
        said = attestations.answer(outcome.question, outcome.control, told, observation.site.name, self.papers.today)
        if said is None:
            asked = f"to attest it, `clawkeep attest {outcome.control}` with --evidence {outcome.question.digest}"
            first, *more = outcome.sentences
            return replace(outcome, sentences=(f"{first}; {asked}", *more))
        if said.warning:
            self._warnings[said.warning] = None
        citations = (said.citation, *outcome.citations)
        return replace(outcome, status=said.status, sentences=(said.sentence,), citations=citations)


def _results(
    controls: Sequence[Control], observations: Sequence[Observation], evaluation: Evaluation, answers: _Answers
) -> Iterator[Result]:
    outcomes: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in evaluation.outcomes:
        outcomes[outcome.host, outcome.control].append(outcome)
    for observation in observations:
        for control in controls:
            status, message, evidence = _decide(
                control, observation, outcomes[observation.host.name, control.id], evaluation, answers
            )
            yield Result(
                control=control.id,
                title=control.title,
                severity=control.severity.value,
                host=observation.host.name,
                tier=observation.host.tier.name,
                status=status,
                message=message,
                remedy=control.remedy,
                evidence=evidence,
            )


def _decide(
    control: Control,
    observation: Observation,
    outcomes: Sequence[Outcome],
    evaluation: Evaluation,
    answers: _Answers,
) -> tuple[Status, str, tuple[Excerpt, ...]]:
    if observation.host.tier.rank < control.tier:
        return Status.NOT_REQUIRED, f"required from tier rank {control.tier} on", ()
    if not observation.reached:
        return Status.INCONCLUSIVE, f"the host was not measured: {observation.message}", ()
    broken = _broken_module(control, evaluation)
    if broken:
        return Status.ERROR, broken, ()
    if not outcomes and control.proof is Proof.MANUAL:
        outcomes = [_asked(control, observation)]
    if outcomes:
        return decide([answers.to(outcome, observation) for outcome in outcomes])
    return Status.INCONCLUSIVE, "no test judged this control", ()


def _asked(control: Control, observation: Observation) -> Outcome:
    """The outcome of a manual control without a test: a person is asked whether its promise is kept."""
    days = int(observation.host.tier.get("verify_attestation_days", 0))
    return Outcome(
        control.id,
        observation.host.name,
        "asked of a person",
        Status.MANUAL,
        ("this is for a person to check and attest; its page says how",),
        question=Question(attestations.promise(control), days),
    )


def _broken_module(control: Control, evaluation: Evaluation) -> str:
    for path, why in evaluation.broken.items():
        name = Path(re.sub(r"::.*", "", path)).name
        if name.startswith(control.module_prefix):
            return f"the test module {name} cannot be used: {why}"
    return ""


def decide(outcomes: Sequence[Outcome]) -> tuple[Status, str, tuple[Excerpt, ...]]:
    """One control's status on one host, from its tests: the worst decides, and its first sentence is the message."""
    status = min((outcome.status for outcome in outcomes), key=WORST_FIRST.index)
    worst = [outcome for outcome in outcomes if outcome.status is status]
    if status is Status.PASS and not all(outcome.citations for outcome in worst):
        return Status.INCONCLUSIVE, "a test passed without evidence of this host", ()
    sentences = [sentence for outcome in worst for sentence in outcome.sentences]
    message = sentences[0] if sentences else ""
    if len(sentences) > 1:
        message = f"{message} (and {len(sentences) - 1} more)"
    complaints = tuple(
        Excerpt(f"test: {outcome.test}", digest(list(outcome.sentences)), "; ".join(outcome.sentences))
        for outcome in outcomes
        if outcome.sentences
    )
    cited = {(c.source, c.digest): Excerpt(c.source, c.digest, c.excerpt) for o in worst for c in o.citations}
    return status, message, (*complaints, *list(cited.values())[:SHOWN_EXCERPTS])
