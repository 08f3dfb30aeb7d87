"""docs/tiers.md: which tier and why, the settings of the tier files, and the controls that each tier adds."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clawkeep.register.register import Control, Severity
from clawkeep.register.tiers import Tier

COMMAND = "clawkeep controls tiers > docs/tiers.md"


@dataclass(frozen=True)
class Reason:
    """Why somebody would choose a tier; `rank` joins it to the tier file and to the controls' lowest tiers."""

    rank: int
    name: str
    when: str
    because: str
    too_little: str


REASONS = (
    Reason(
        1,
        "Personal",
        "One person uses the agent, on the host itself, with test credentials and few integrations.",
        "Nothing of the agent answers beyond the host, so nobody comes in; what it holds is worth little, so it may"
        " reach the Internet, but no private network, no host service and no metadata.",
        "A second person needs access, or a credential is a live one.",
    ),
    Reason(
        2,
        "Team",
        "Several people share the agent from other machines, or it works with live credentials of narrow scope.",
        "People come in by VPN and log in before they reach the agent; data goes out to approved names alone, and what"
        " happened is told by logs that the host cannot change.",
        "The data is regulated or financial, or a takeover would hurt people outside of the team.",
    ),
    Reason(
        3,
        "Enterprise",
        "The agent meets regulated or financial data, or acts where a mistake reaches customers.",
        "The host does nothing else, zones exchange declared flows only, changes need a second person, and a security"
        " team is paged.",
        "There is nothing above it: narrow what the agent may do.",
    ),
)


def render(controls: Mapping[str, Control], tiers: Mapping[str, Tier]) -> str:
    """The page as Markdown, from the register and the tier files that there are."""
    by_rank = {tier.rank: tier for tier in tiers.values()}
    parts = [
        "# Tiers",
        f"Generated: change the pages or the tier files, then run `{COMMAND}`.",
        *_which(controls, by_rank),
    ]
    parts += [*_settings(list(tiers.values())), *_controls(controls)]
    return "\n\n".join(parts) + "\n"


def _which(controls: Mapping[str, Control], by_rank: Mapping[int, Tier]) -> Iterator[str]:
    yield "## Which tier, and why"
    yield textwrap.fill(
        "Choose by what the agent can reach and who can reach it, not by what sounds safest: the lowest tier whose"
        " description is true. A tier that is too high for its use is waived away piece by piece; one that is too low"
        " protects something else than what is there. Write the choice and its reason down (INV-04).",
        width=118,
    )
    yield _table(
        ("Tier", "Choose it when", "What that buys", "It is too little when"),
        [(f"{reason.rank} {reason.name}", reason.when, reason.because, reason.too_little) for reason in REASONS],
    )
    rows = []
    for reason in REASONS:
        tier = by_rank.get(reason.rank)
        settings = tier.settings["tier"] if tier else {}
        added = sum(control.tier == reason.rank for control in controls.values())
        apply = sum(control.tier <= reason.rank for control in controls.values())
        rows.append(
            (
                f"{reason.rank} {reason.name}",
                f"`{tier.name}`" if tier else "no tier file yet",
                ", ".join(str(word).replace("_", " ") for word in settings.get("requires", ())) or "-",
                str(added),
                str(apply),
            )
        )
    yield _table(("Tier", "Inventory group", "It demands", "Controls it adds", "Controls that apply"), rows)


def _settings(tiers: list[Tier]) -> Iterator[str]:
    yield "## Settings"
    keys = list(dict.fromkeys(key for tier in tiers for key in tier if key != "tier"))
    differ = [key for key in keys if len({json.dumps(tier.settings.get(key)) for tier in tiers}) > 1]
    if len(tiers) > 1:
        yield "What differs between the tiers; an empty field means as in the tier before."
        rows = []
        for key in differ:
            shown = [_value(tier, key) for tier in tiers]
            rows.append((f"`{key}`", *(v if i == 0 or v != shown[i - 1] else "" for i, v in enumerate(shown))))
        yield _table(("Setting", *(f"`{tier.name}`" for tier in tiers)), rows)
        yield "What is the same at every tier."
    else:
        yield f"`{tiers[0].name}` is the only tier that has a file so far. A host may change none of these."
    yield _table(("Setting", "Value"), [(f"`{key}`", _value(tiers[0], key)) for key in keys if key not in differ])


def _controls(controls: Mapping[str, Control]) -> Iterator[str]:
    yield "## Controls"
    yield "Each tier keeps the controls of the tiers below it. `planned` means that nothing proves it yet."
    for reason in REASONS:
        added = [control for control in controls.values() if control.tier == reason.rank]
        count = Counter(control.severity for control in added)
        told = ", ".join(f"{count[severity]} {severity.value}" for severity in Severity if count[severity])
        yield f"### Added by tier {reason.rank}, {reason.name}: {len(added)} ({told or 'none'})"
        yield _table(
            ("Id", "Title", "Severity", "Proof"),
            [(f"[{c.id}](controls/{c.id}.md)", c.title, c.severity.value, c.proof.value) for c in added],
        )


def _value(tier: Tier, key: str) -> str:
    return f"`{json.dumps(tier.settings[key], ensure_ascii=False)}`" if key in tier.settings else "not set"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
