"""Which tasks of a file may fail without anybody noticing.

A task that may fail has to say what becomes of it: it registers its result, and a later task of the same file decides
by that. One that changes something is asserted on. One that only looks is read by a condition, and looks by a program
that is known to change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Task = Mapping[str, Any]

# Values of `failed_when` by which nothing is a failure.
NEVER: tuple[object, ...] = (False, "false", "False", "no", "never", [])
SHRUG = re.compile(r"\|\|\s*(:|(true|exit 0|/bin/true)\b)|;\s*true\b|\bset \+e\b")
LOOKS = (  # how an argv begins that changes nothing
    ("auditctl", "-l"),
    ("auditctl", "-s"),
    ("augenrules", "--check"),
    ("dpkg-query", "--show"),
    ("getent",),
    ("getfacl",),
    ("grep",),
    ("printenv",),
    ("stat",),
    ("tailscale", "status"),
)
CONDITIONS = ("when", "loop", "until")
STOPS = ("ansible.builtin.assert", "ansible.builtin.fail")
COMMANDS = ("ansible.builtin.command", "ansible.builtin.shell")


def swallowed(content: object) -> list[str]:
    """A sentence about each task of a file (its parsed YAML: tasks, handlers or plays) whose failure nobody notices."""
    return [sentence for tasks in _lists(content) for sentence in _swallowed(tasks)]


def _lists(content: object) -> Iterator[Sequence[Task]]:
    """The lists of tasks, each flat: those of a block stand among the others, in their order."""
    plays = content if isinstance(content, list) else []
    if any(isinstance(one, Mapping) and "hosts" in one for one in plays):
        for play in plays:
            yield [{key: value for key, value in play.items() if key == "ignore_errors"}]
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                yield list(_flat(play.get(part) or []))
    else:
        yield list(_flat(plays))


def _flat(tasks: Sequence[Task]) -> Iterator[Task]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _flat(task.get(part) or [])


def _swallowed(tasks: Sequence[Task]) -> Iterator[str]:
    for at, task in enumerate(tasks):
        name = f"the task {task.get('name', at)!r}"
        if task.get("ignore_errors", False) is not False:
            yield f"{name} ignores every error"
        if "rescue" in task and not any(STOPS[1] in one for one in _flat(task["rescue"])):
            yield f"{name} is rescued, and nothing says so"
        if not _forgiven(task):
            continue
        result = task.get("register")
        if not result:
            yield f"{name} may fail, and nobody keeps what came of it"
        elif _looks(task):
            if not any(_decides(later, result) for later in tasks[at + 1 :]):
                yield f"{name} may fail, and no later task decides by {result}"
        elif not any(_stops(later, result) or _retries(task, later, result) for later in tasks[at + 1 :]):
            yield f"{name} changes something and may fail, and no later task stops at {result}"


def _forgiven(task: Task) -> bool:
    return _unfailing(task) or bool(task.get("ignore_unreachable"))


def _unfailing(task: Task) -> bool:
    return ("failed_when" in task and task["failed_when"] in NEVER) or bool(SHRUG.search(_script(task)))


def _script(task: Task) -> str:
    told = next((task[one] for one in COMMANDS if one in task), "")
    return str(told.get("cmd") or told.get("argv") or "") if isinstance(told, Mapping) else str(told)


def _looks(task: Task) -> bool:
    """Whether it changes nothing: it says so, also runs in check mode, and its program is known for it."""
    if task.get("changed_when") is not False or task.get("check_mode") is not False:
        return False
    told = task.get(COMMANDS[0])
    argv = told.get("argv") if isinstance(told, Mapping) else None
    if isinstance(argv, str):  # `{{ ['dpkg-query', '--show', ...] + packages }}`
        argv = re.findall(r"'([^']*)'", argv)
    return isinstance(argv, list) and any(tuple(argv[: len(words)]) == words for words in LOOKS)


def _names(value: object, result: str) -> bool:
    return re.search(rf"\b{re.escape(result)}\b", str(value)) is not None


def _decides(task: Task, result: str) -> bool:
    return _stops(task, result) or any(_names(task.get(part, ""), result) for part in CONDITIONS)


def _retries(task: Task, later: Task, result: str) -> bool:
    """Whether `later` goes on where `task` could not reach the host: it is judged as a task of its own."""
    return not _unfailing(task) and any(one in later for one in COMMANDS) and _names(later.get("when", ""), result)


def _stops(task: Task, result: str) -> bool:
    """Whether the play ends there for what came of `result`."""
    if _forgiven(task) or "ignore_errors" in task:
        return False
    return (STOPS[0] in task and _names(task[STOPS[0]].get("that"), result)) or (
        STOPS[1] in task and _names(task.get("when", ""), result)
    )
