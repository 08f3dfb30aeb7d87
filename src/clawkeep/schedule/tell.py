"""Tell people: every channel that the node is told of, each for itself, none of them able to stop another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.schedule import mail, syslog, webhook
from clawkeep.schedule.config import Config
from clawkeep.schedule.notice import Notice

Channel = Callable[[Notice], None]


def channels(config: Config) -> Iterator[tuple[str, Channel]]:
    """The channels by name."""
    if config.syslog:
        yield "syslog", syslog.send
    mail_to, hook = config.mail, config.webhook
    if mail_to is not None:
        yield "mail", lambda notice: mail.send(mail_to, notice, config.node)
    if hook is not None:
        yield "webhook", lambda notice: webhook.send(hook, notice)


def tell(config: Config, notice: Notice) -> dict[str, str]:
    """Send the notice over every channel; by channel why it failed, an empty text where it did not.

    What a channel raises beside a ClawkeepError is told by its kind alone, since its words might hold an address or a
    password.
    """
    outcome = {}
    for name, channel in channels(config):
        try:
            channel(notice)
            outcome[name] = ""
        except ClawkeepError as problem:
            outcome[name] = clean(str(problem))
        except OSError as problem:
            outcome[name] = clean(f"{type(problem).__name__}: {problem.strerror or 'no reason given'}")
        except Exception as problem:
            outcome[name] = f"it broke with {type(problem).__name__}"
    return outcome
