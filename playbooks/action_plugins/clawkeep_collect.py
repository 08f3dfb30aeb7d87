"""The steps of playbooks/collect.yml: plan a collection, ask one host, make the bundle.

Ansible connects and becomes root. What is sent, what a host is told and what becomes of its answer is Clawkeep's own
code, the same as `clawkeep verify` runs. A host is sent one command with the collector on its standard input: no module
is copied, and nothing is written there. `async` is refused, since it would: its wrapper keeps the answer in a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

try:
    from clawkeep.base import clock, repo
    from clawkeep.base.errors import ClawkeepError
    from clawkeep.base.printable import clean
    from clawkeep.measure import gather, transport
    from clawkeep.measure.conversation import End
    from clawkeep.site import inventory
except ImportError as _missing:
    raise AnsibleError(
        f"Clawkeep is not installed for the Python that runs Ansible ({_missing}): install the checkout into the same "
        "environment (`pip install -e .`), or into the execution environment's image"
    ) from None

MEMORY = 8 * transport.OUTPUT_CAP  # bytes that one answer may take in this process while it is read, copies included
SHOWN = 20  # hosts without evidence that are told with their reason
VARIABLES = ("clawkeep_addresses", "clawkeep_ledger")  # all that is read of a host's own variables


class _TooLong(BaseException):  # nothing between the alarm and us may take it for an error of its own
    pass


class ActionModule(ActionBase):  # type: ignore[misc]
    """`step` is begin, host or end; `folder` becomes the bundle."""

    TRANSFERS_FILES = False
    _supports_check_mode = True  # nothing is changed on a host
    _supports_async = False
    _VALID_ARGS = frozenset({"step", "folder", "site", "sign_key"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do one step."""
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        steps: dict[str, Callable[[gather.Gathering, Mapping[str, Any]], dict[str, Any]]] = {
            "begin": self._begin,
            "host": self._host,
            "end": self._end,
        }
        step, folder = self._task.args.get("step"), self._task.args.get("folder")
        if step not in steps or not folder:
            raise AnsibleActionFail(f"clawkeep_collect takes a folder, and as step one of {', '.join(steps)}")
        try:
            return {**result, **steps[step](gather.gathering(Path(folder).expanduser()), task_vars or {})}
        except ClawkeepError as problem:
            return {**result, "failed": True, "msg": clean(str(problem), 1000)}

    def _begin(self, collection: gather.Gathering, variables: Mapping[str, Any]) -> dict[str, Any]:
        names = sorted(variables["ansible_play_hosts_all"])
        # A listing as ansible-inventory prints it, from what Ansible knows already: AWX has no file of it.
        listing: dict[str, Any] = {
            group: {"hosts": list(members)} for group, members in variables["groups"].items() if members
        }
        every = listing["all"]["hosts"]
        raw = variables["hostvars"].raw_get
        listing["_meta"] = {
            "hostvars": {name: {key: value for key in VARIABLES if (value := raw(name).get(key))} for name in every}
        }
        nodes = listing.get(inventory.CONTROL, {}).get("hosts", [])
        source = Path(self._task.args["site"]).expanduser()
        found = inventory.listed(source, listing, names, repo.find(Path(__file__).parent))
        collection.begin(found, self._ask, limited={*names} != {*every} - {*nodes}, sign_key=self._key())
        return {"msg": f"{len(names)} hosts are to be collected"}

    def _ask(self, argv: Sequence[str]) -> str:
        """Ask the control node, which this step is delegated to where there is one."""
        node = str(self._task.delegate_to or "the control node")
        end = self._converse(transport.announced(argv), b"\n", transport.ASK_LIMIT)
        return gather.ask(node, end, by_ssh=self._by_ssh)

    def _host(self, collection: gather.Gathering, variables: Mapping[str, Any]) -> dict[str, Any]:
        name, began = str(variables["inventory_hostname"]), clock.now()
        end = self._converse(transport.COLLECT, collection.order(name), gather.LIMIT)
        why = collection.keep(name, end, began, by_ssh=self._by_ssh)
        if not why:
            return {}
        return {"unreachable" if not end.ready and self._by_ssh else "failed": True, "msg": clean(why, 1000)}

    def _end(self, collection: gather.Gathering, _: Mapping[str, Any]) -> dict[str, Any]:
        ended = collection.finish(self._key())
        saved, missing = ended.saved, ended.missing
        said = [
            f"{ended.hosts - len(missing)} of {ended.hosts} hosts gave evidence: {collection.folder}, {saved.digest}"
        ]
        said += [f"signed with the key {saved.signed_by}" if saved.signed_by else "unsigned"]
        said += [f"it could not be signed: {saved.problem}"] if saved.problem else []
        said += missing[:SHOWN]
        said += [f"and {len(missing) - SHOWN} more" for _ in missing[SHOWN : SHOWN + 1]]
        return {"msg": "\n".join(clean(line, 1000) for line in said), "failed": bool(missing or saved.problem)}

    def _key(self) -> Path | None:
        file = self._task.args.get("sign_key")
        return Path(file).expanduser() if file else None

    @property
    def _by_ssh(self) -> bool:
        return str(self._connection.transport).rpartition(".")[2] != "local"

    def _why(self, said: str) -> str:
        """Why a connection failed, in ssh's own words: where it ended before it took our data, they were not kept."""
        broken = re.compile(r"(?s)^Data could not be sent to remote host.*?over ssh: ", re.IGNORECASE)
        if broken.match(said) and "Broken pipe" in said:
            self._connection.reset()
            try:
                with _at_most(transport.CONNECT_LIMIT):
                    self._low_level_execute_command("true")
            except (AnsibleError, _TooLong) as problem:  # refused again, and heard this time
                said = str(problem)
        return broken.sub("", said)

    def _converse(self, argv: Sequence[str], payload: bytes, limit: float) -> End:
        """Run one command over Ansible's own connection; however it goes wrong, that is how it ended."""
        command = shlex.join(transport.bounded(argv, limit))
        try:
            with _at_most(limit + transport.CONNECT_LIMIT), _bounded_memory():
                given = self._low_level_execute_command(command, in_data=payload, encoding_errors="surrogateescape")
                printed = given["stdout"].encode("utf-8", "surrogateescape")
        except _TooLong:
            _stop_children()
            return End(None, b"", "", ready=False, timeout=True)
        except MemoryError:
            _stop_children()
            return End(None, b"", "", ready=True, overflow=True)
        except (AnsibleConnectionFailure, AnsibleError) as problem:
            status = 255 if isinstance(problem, AnsibleConnectionFailure) else 1
            return End(status, b"", self._why(str(problem)), ready=False)
        finally:
            with contextlib.suppress(Exception):  # a connection that would wait for a second command takes memory
                self._connection.reset()
        complained = given["stderr"].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return gather.answered(given["rc"], printed, complained[-transport.OUTPUT_CAP :])


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Break off what takes longer: a host may ignore the limit that it is given."""

    def ring(_: int, __: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    """Let this worker grow by MEMORY at most: Ansible reads whatever a host prints, and has no limit of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    wanted = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (wanted if soft == resource.RLIM_INFINITY else min(wanted, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _stop_children() -> None:
    """End what this worker started: the client of a host that was given up."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in (task / "children").read_text(encoding="ascii").split():
                os.kill(int(pid), signal.SIGKILL)
