"""The pytest plugin: markers and fixtures of the conformance suite, and the evaluation of a run.

Loaded by `addopts` in every pytest run of the repo, it only declares markers and fixtures there. `verify.evaluate`
hands an `Evaluation` to a pytest run of its own: that one multiplies each control test by the hosts it binds, and
keeps what came of each as plain data. A control test runs nowhere else: outside of `verify.evaluate` it fails, saying
so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from clawkeep.base.verdict import Manual, Question, Status, Verdict
from clawkeep.evidence.document import Citation, HostEvidence
from clawkeep.evidence.observation import Observation
from clawkeep.register.register import Control
from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import Site
from clawkeep.subjects.table import SUBJECTS

INSIDE = "inside"
MODEL = "model"  # the agents' model, which the collector plays for a turn of each
CAVEATS = pytest.StashKey[list[str]]()
ALONE = "this is a control test: it needs a host's evidence, run `clawkeep verify`"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "control(id): the control of the register that this test proves")
    config.addinivalue_line("markers", "vantage(name): the test needs what was measured from this vantage point")


@pytest.fixture(name="observation")
def _observation(request: pytest.FixtureRequest) -> Observation:
    """The host that the test is asked about, with its site; given by the evaluation alone."""
    if not isinstance(getattr(request, "param", None), Observation):
        pytest.fail(ALONE, pytrace=False)
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(name="evidence")
def _evidence(observation: Observation) -> HostEvidence:
    """Everything that was measured about the host."""
    if observation.evidence is None:
        pytest.fail(ALONE, pytrace=False)
    return observation.evidence


@pytest.fixture(name="tier")
def _tier(observation: Observation) -> Tier:
    """The settings of the host's tier, from the tier file."""
    return observation.host.tier


@pytest.fixture(name="site")
def _site(observation: Observation) -> Site:
    """The facts of the site that the host stands in."""
    return observation.site


@pytest.fixture(name="caveat")
def _caveat(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say in the report what a pass rests on, in one sentence: `caveat("it holds because ...")`."""
    return request.node.stash.setdefault(CAVEATS, []).append  # type: ignore[no-any-return]


def _subject_fixture(name: str, kind: type) -> Callable[..., Any]:
    def subject(evidence: HostEvidence) -> Any:
        return evidence.subject(kind)

    subject.__doc__ = kind.__doc__
    return pytest.fixture(name=name)(subject)


globals().update({f"_{name}": _subject_fixture(name, kind) for name, kind in SUBJECTS.items()})


@dataclass(frozen=True)
class Outcome:
    """What one test said about one host; `sentences` are its complaints, the most telling first.

    `question` is what a person may attest where the status is `manual`.
    """

    control: str
    host: str
    test: str
    status: Status
    sentences: tuple[str, ...] = ()
    citations: tuple[Citation, ...] = ()
    question: Question | None = None


@dataclass
class Evaluation:
    """One run of the suite over observed hosts: given to pytest as a plugin, read when the run is over.

    `controls` are those to judge, `known` the ids of the whole register; `asks` tells which vantages are asked for.
    `outcomes` are in the order of the run; `left_out` counts by control the tests that need a vantage that is not asked
    for; `broken` maps a test module's path to why it cannot be used.
    """

    controls: Mapping[str, Control]
    observations: Sequence[Observation]
    known: frozenset[str] = frozenset()
    asks: Callable[[str], bool] = lambda _: True
    outcomes: list[Outcome] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    _compared: list[str] = field(default_factory=list)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Multiply a control test by the hosts whose tier requires its control."""
        name = marked(metafunc.definition, "control")
        if name is None:
            return
        if name not in self.known:
            path = str(metafunc.definition.path)
            self.broken[path] = f"it proves {name}, which has no page in the register"
        vantage = marked(metafunc.definition, "vantage") or INSIDE
        control = self.controls.get(name)
        bound: list[Observation] = []
        if control is not None:
            if not self.asks(vantage):
                self.left_out[name] = self.left_out.get(name, 0) + 1
            else:
                bound = [o for o in self.observations if o.reached and o.host.tier.rank >= control.tier]
        if "observation" not in metafunc.fixturenames:
            metafunc.fixturenames.append("observation")
        metafunc.parametrize("observation", bound, ids=[o.host.name for o in bound], indirect=True)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what is bound to a host: pytest makes a skipped item of a test that binds none."""
        items[:] = [item for item in items if observed(item) is not None]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember a test module that cannot be imported: its controls were not judged."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = crash.message if crash is not None else str(report.longrepr)
            self.broken[report.nodeid] = _first_line(_last_error(said))

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        """Keep the sentences of `assert subject.violations() == []` before pytest abbreviates them."""
        self._compared = []
        if op == "==" and isinstance(left, list | tuple) and not right and isinstance(right, list | tuple):
            self._compared = [str(sentence) for sentence in left]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin a test: what was read before it is not its evidence."""
        self._compared = []
        observation = observed(item)
        if observation is not None and observation.evidence is not None:
            observation.evidence.take_citations()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport:
        """Judge a test when its call, or the set-up that prevented it, is over; pytest itself reports nothing."""
        problem = call.excinfo.value if call.excinfo else None
        if call.when == "call" or problem is not None:
            self._judge(item, call.when, problem)
        outcome = "passed" if problem is None else "failed"
        return pytest.TestReport(item.nodeid, item.location, {}, outcome, None, call.when)  # type: ignore[arg-type]

    def _judge(self, item: pytest.Item, when: str, problem: BaseException | None) -> None:
        observation, control = observed(item), marked(item, "control")
        if observation is None or observation.evidence is None or control is None:
            return
        citations = tuple(observation.evidence.take_citations())
        status, sentences = self._status(item, when, problem, bool(citations))
        question = problem.question if isinstance(problem, Manual) else None
        self.outcomes.append(
            Outcome(control, observation.host.name, _claim(item), status, tuple(sentences), citations, question)
        )

    def _status(
        self, item: pytest.Item, when: str, problem: BaseException | None, cited: bool
    ) -> tuple[Status, Sequence[str]]:
        if problem is None:
            if cited:
                return Status.PASS, item.stash.get(CAVEATS, [])
            return Status.INCONCLUSIVE, (f"the test {_claim(item)} looked at no evidence of this host",)
        if isinstance(problem, Verdict):
            return problem.status, (str(problem) or f"the test {_claim(item)} gave no reason",)
        if isinstance(problem, pytest.skip.Exception):
            return Status.INCONCLUSIVE, (f"the test {_claim(item)} was skipped: {problem.msg}",)
        if when == "call" and isinstance(problem, AssertionError | pytest.fail.Exception):
            if self._compared:
                return Status.FAIL, self._compared
            return Status.FAIL, (_assertion(item, problem),)
        return Status.ERROR, (f"the test {_claim(item)} broke: {type(problem).__name__}: {_first_line(str(problem))}",)


def marked(node: pytest.Item, marker: str) -> str | None:
    """The one argument of the closest `marker` of a test, None when it wears none."""
    found = node.get_closest_marker(marker)
    return str(found.args[0]) if found is not None and found.args else None


def observed(item: pytest.Item) -> Observation | None:
    """The host that a test item is bound to."""
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get("observation") if callspec is not None else None
    return found if isinstance(found, Observation) else None


def _claim(item: pytest.Item) -> str:
    return str(getattr(item, "originalname", item.name))


def _assertion(item: pytest.Item, problem: BaseException) -> str:
    said = _first_line(str(problem))
    if said and not said.startswith("assert "):
        return said
    return f"{_claim(item).removeprefix('test_').replace('_', ' ')} does not hold: {said or 'assertion failed'}"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _last_error(text: str) -> str:
    errors: Iterator[str] = (line[1:].strip() for line in reversed(text.splitlines()) if line.startswith("E "))
    return next(errors, text)
