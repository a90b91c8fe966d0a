"""Where webhooks may go: to addresses of the internet, and to those networks that the operator allows.

A name is looked up by us and what it stands for is checked before a connection is made to just that address, so a name
that points somewhere else a moment later changes nothing.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import urlsplit

from infra.errors import KehuError

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]
# Addresses of IPv6 that a gateway turns into some of IPv4, which would then have to be checked by the gateway.
_TRANSLATED = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


class WrongUrl(KehuError):
    """A webhook cannot be told there. Give an https URL without user, password and fragment."""

    exit_code = 2


class WrongNetwork(KehuError):
    """KEHU_WEBHOOK_NETWORKS is not understood. Write networks with commas between them: 10.1.0.0/16,fd00::/8."""

    exit_code = 2


class Forbidden(OSError):
    """An address where no webhook may go. Its network has to be in KEHU_WEBHOOK_NETWORKS."""


def networks(text: str) -> Networks:
    """The networks that are allowed beside the internet. Raises WrongNetwork."""
    try:
        return [ip_network(one.strip()) for one in text.split(",") if one.strip()]
    except ValueError as error:
        raise WrongNetwork(str(error)) from error


def check_url(url: str) -> None:
    """Raises WrongUrl. Plain http is for networks that are allowed only: see `allowed`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WrongUrl(f"{url[:200]}: {error}") from error
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0 or not url.isascii():
        raise WrongUrl(url[:200])
    if parts.username is not None or parts.password is not None or parts.fragment or any(c.isspace() for c in url):
        raise WrongUrl(parts.hostname)


def allowed(address: Address, own: Networks, *, plain: bool) -> bool:
    """Whether a webhook may go there; in `plain` http only into networks of one's own."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in own):
        return True
    if plain or any(address in network for network in _TRANSLATED if isinstance(address, IPv6Address)):
        return False
    return address.is_global and not address.is_multicast
