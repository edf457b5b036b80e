"""Addresses: which are of this machine, and to which others keys and sign-ins may be entrusted."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_near(host: str) -> bool:
    """Whether a host is this machine itself: localhost, or an address of the loopback."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself."""
    try:
        return is_near(urlsplit(url).hostname or "")
    except ValueError:
        return False


def is_safe(url: str) -> bool:
    """Whether what comes from this URL cannot be changed on the way: https, or this machine itself."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.username or parts.fragment or not (url.isascii() and url.isprintable()):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_near(parts.hostname))
