"""What is left out of messages: whatever may be a credential in a URL or in the message of another program."""

from __future__ import annotations

import re

__all__ = ("reason_of", "redacted", "without_secrets")

_SECRETS = re.compile(r"(?<=://)[^/\s]*@|(?<!<)\?(?!>)\S+")
# In messages of others more is left out: a password with a slash, user:password@host without a scheme,
# parts of connection strings and of signed requests
_LIKELY_SECRETS = re.compile(
    r"(?<=://)\S*@|(?<![^\s/:@'\"])[^\s/:@'\"]+:[^\s@'\"]+@|(?<=\b[Bb]earer )\S+|(?<=\bBasic )\S+"
    r"|(?<=\bSharedKey )\S+|(?<=\bSharedKeyLite )\S+"
)
_WORD = r"passw(?:or)?d|passphrase|pwd|(?<![a-z])pass"
# "NoSuchKey: the key: a, token: none" is a message, "x-api-key: a" and "session_token: a" are headers
_OF_HEADERS = (
    rf"{_WORD}|(?<![a-z])(?:secret|signature|credential)|[_-](?:key|token)"
    r"|(?:access|account|api|private|shared|encryption)key"
)
_NAMED_SECRETS = re.compile(
    rf"(?i)((?:{_WORD}|key|secret|token|sig|signature|credential)(?:\s?=\s?|[\"']\s?:\s?(?=b?[\"']))"
    rf"|(?:{_OF_HEADERS})[\"']?\s?:\s?|(?:{_WORD})\s(?=[\"']))"
    r"(?:b?[\"'])?[^\s&;,\"']+"
)
_LONGEST_LINE = 1000
_LONGEST_REASON = 300


def without_secrets(text: str) -> str:
    """Return *text* without user names, passwords and queries of the URLs in it."""
    return _SECRETS.sub("", text)


def reason_of(error: BaseException) -> str:
    """Return the first line of the foreign message, fit to be logged."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    if len(line) > _LONGEST_LINE:
        # half of a secret would not be known for one
        line = line[:_LONGEST_LINE].rpartition(" ")[0] + " ..."
    return redacted(line)[:_LONGEST_REASON]


def redacted(text: str) -> str:
    """Return *text*, whose length is bounded, without what may be a credential in a message of another program."""
    return _NAMED_SECRETS.sub(r"\1...", _LIKELY_SECRETS.sub("", without_secrets(text)))
