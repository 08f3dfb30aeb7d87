"""Mail without a mail server of one's own: one message to a submission server, by Python's smtplib."""

from __future__ import annotations

import smtplib
import ssl
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from clawkeep.base.errors import ClawkeepError
from clawkeep.base.printable import clean
from clawkeep.schedule.config import Mail, secret
from clawkeep.schedule.notice import Notice
from clawkeep.schedule.trust import context

SECONDS = 30  # for each step of the conversation


def message(mail: Mail, notice: Notice, node: str) -> EmailMessage:
    """The message; raises ClawkeepError for an address that would break a header."""
    try:
        made = EmailMessage()
        made["From"] = mail.sender
        made["To"] = ", ".join(mail.recipients)
        made["Subject"] = f"[clawkeep] {notice.subject}"
        made["Date"] = formatdate()
        made["Message-ID"] = make_msgid(domain=_domain(mail.sender))
        made["Auto-Submitted"] = "auto-generated"
        made["X-Clawkeep-Node"] = clean(node)
        made.set_content(notice.text)
    except (MessageError, ValueError, IndexError) as problem:
        raise ClawkeepError(f"the mail cannot be written: {problem}") from None
    return made


def send(mail: Mail, notice: Notice, node: str) -> None:
    """Hand the message to the server; raises ClawkeepError saying at which step that failed, and never a password."""
    password = secret(mail.password_file) if mail.password_file is not None else None
    made = message(mail, notice, node)
    where = f"the mail server {mail.host}:{mail.port}"
    try:
        with _server(mail) as server:
            if mail.user is not None and password is not None:
                server.login(mail.user, password)
            refused = server.send_message(made, mail.sender, list(mail.recipients))
    except smtplib.SMTPAuthenticationError as problem:
        raise ClawkeepError(f"{where} refuses the login (status {problem.smtp_code})") from None
    except smtplib.SMTPRecipientsRefused as problem:
        raise ClawkeepError(f"{where} refuses {', '.join(problem.recipients)}") from None
    except smtplib.SMTPResponseException as problem:
        raise ClawkeepError(f"{where} refuses the mail (status {problem.smtp_code})") from None
    except smtplib.SMTPException as problem:
        raise ClawkeepError(f"{where} broke the conversation off: {type(problem).__name__}") from None
    except ssl.SSLError as problem:
        raise ClawkeepError(f"{where} is not trusted: {problem.reason or 'no certificate that we know'}") from None
    except OSError as problem:
        raise ClawkeepError(f"{where} cannot be reached: {problem.strerror or type(problem).__name__}") from None
    if refused:
        raise ClawkeepError(f"{where} refuses {', '.join(refused)} and took the mail for the others")


def _server(mail: Mail) -> smtplib.SMTP:
    name = _domain(mail.sender)  # what we greet with; our own full name may take a resolver's timeout to find
    if mail.security == "none":
        return smtplib.SMTP(mail.host, mail.port, local_hostname=name, timeout=SECONDS)
    trust = context(mail.ca_file)
    if mail.security == "tls":
        return smtplib.SMTP_SSL(mail.host, mail.port, local_hostname=name, timeout=SECONDS, context=trust)
    server = smtplib.SMTP(mail.host, mail.port, local_hostname=name, timeout=SECONDS)
    try:
        server.starttls(context=trust)
    except BaseException:
        server.close()
        raise
    return server


def _domain(address: str) -> str:
    return address.rpartition("@")[2].strip(" <>") or "localhost"
