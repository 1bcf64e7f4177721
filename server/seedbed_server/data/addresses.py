"""Which hosts a URI may lead to: by default only those on the public internet."""

from __future__ import annotations

import ipaddress
import socket

from seedbed_sdk.errors import Unavailable
from seedbed_server.data.sources import ResolvedSource, shown

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 addresses that stand for an IPv4 address, which a gateway or the system itself goes to.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def checked_addresses(source: ResolvedSource, host: str, port: int) -> list[str]:
    """The addresses of a host. To be safe, a connection must go to one of them, and not to the name
    again, which may mean another machine by then.

    Raises InvalidArgument where the host is not known or, unless the policy allows it, where one of
    its addresses is not public; Unavailable where the name cannot be looked up just now.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise Unavailable(
                f"{shown(source.uri)}: the name {host!r} cannot be looked up just now; try again"
            ) from error
        raise source.refusal(f"names a host that is not known: {host!r}") from error
    except (UnicodeError, OSError) as error:
        raise source.refusal(f"names a host that cannot be looked up: {host!r}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not source.policy.allow_private_addresses:
        for address in addresses:
            if not is_public(address):
                raise source.refusal(
                    f"leads to {host} at {address}, which is not on the public internet; upload "
                    "the data, or start the server with --allow-private-addresses where every "
                    "user may see what it can reach",
                    reason="PRIVATE_ADDRESS",
                )
    return addresses


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is of one machine on the public internet."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return all(a.is_global and not a.is_multicast for a in (parsed, *_inside(parsed)))


def _inside(address: _Address) -> list[_Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or address in _COMPATIBLE:
        inside.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [found for found in inside if found is not None]
