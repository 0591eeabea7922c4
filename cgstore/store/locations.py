"""Where a store may lie: in a folder or at a URL; and what must never stand in a URL or a message: credentials.

Credentials come from the environment, or from the configuration files of the object store's own tools. A location is
written into catalogs, indices and logs, so one that carries a password or a signature is refused.
"""

import os
import re
from urllib.parse import urlsplit

from cgstore.errors import InputError

__all__ = ["checked", "is_url", "redacted"]

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AZURE_STORAGE_KEY")
_USER = re.compile(r"(?<=://)[^/\s'\"]*@")
# Behind a URL, or what looks like one without its beginning; a question mark in a sentence or a glob is none.
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\")]+|\?(?=[\w.%-]+=)[^\s'\")]*")


def is_url(location: object) -> bool:
    """Tell whether a location is a URL and not a folder of this machine.

    >>> is_url("s3://bucket/store"), is_url("store"), is_url("file:///data/store")
    (True, False, False)
    """
    text = os.fspath(location) if isinstance(location, os.PathLike) else location
    return isinstance(text, str) and "://" in text and not text.startswith("file://")


def checked(location: str) -> str:
    """Return a location without `file://` and closing slashes.

    Raises
    ------
    InputError : a URL with a user, a password, a query or a signature in it

    Examples
    --------
    >>> checked("s3://bucket/store/")
    's3://bucket/store'
    >>> checked("s3://me:secret@bucket/store")
    Traceback (most recent call last):
        ...
    cgstore.errors.InputError: s3://…@bucket/store: found a user or password in a URL, ...
    """
    text = location.removeprefix("file://")
    if not is_url(text):
        return text
    parts = urlsplit(text)
    user = parts.netloc.rpartition("@")[0]
    # abfs://container@account.dfs.core.windows.net names no user before the @.
    if user and (":" in user or not parts.scheme.startswith("abfs")):
        raise InputError(
            f"{redacted(text)}: found a user or password in a URL, expected none: a URL is written into catalogs; "
            "put credentials into the environment (AWS_ACCESS_KEY_ID …) or into ~/.aws"
        )
    if parts.query or parts.fragment:
        raise InputError(
            f"{redacted(text).split('#')[0]}: found a query or signature behind a URL, expected none: a URL is written "
            "into catalogs; put credentials into the environment"
        )
    return text.rstrip("/")


def redacted(text: str) -> str:
    """Return a text with the users and queries of URLs and the secrets of the environment left out.

    >>> redacted("https://me:secret@host/bucket?signature=abc is down")
    'https://…@host/bucket?… is down'
    >>> redacted('part000?.xtc: no such file; did you mean "part0001.xtc"?')
    'part000?.xtc: no such file; did you mean "part0001.xtc"?'
    """
    for name in _SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "…")
    return _QUERY.sub(lambda found: f"{found[1] or ''}?…", _USER.sub("…@", text))
