"""Where a callback may go: annex C, Destination rules."""

import ipaddress
import re
import socket

from errors import invalid

# ssrf-connect: what the registries of IANA reserve, and a little more. `vectors/callback-address.json` has the cases.
_REFUSED_4 = [ipaddress.ip_network(text) for text in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
    "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
    "240.0.0.0/4",
)]
_UNICAST_6 = ipaddress.ip_network("2000::/3")
_REFUSED_6 = [ipaddress.ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")]

# The part of the WHATWG normal form that this server takes. What it does not match could be written in another way.
_URL = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:]+\])(?::([1-9][0-9]{0,4}))?(/[^#?]*)(\?[^#]*)?", re.ASCII)
_PATH, _QUERY = re.compile(r"[!$-;=@-\[\]_a-z|~]*"), re.compile(r"\?[!$-&(-;=?-~]*")
_DOTS = {".", ".."}
DEFAULT_PORTS = {"https": 443, "http": 80}

# The only name that this server resolves by itself, for the control interface's `names`.
INSIDE = "inside.conformance.example"


def public(text):
    """Whether an address, as a resolver gives it, is globally reachable unicast."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 4:
        return not any(address in network for network in _REFUSED_4)
    if getattr(address, "scope_id", None):
        return False
    if address.ipv4_mapped:
        return public(str(address.ipv4_mapped))
    return address in _UNICAST_6 and not any(address in network for network in _REFUSED_6)


def loopback(text):
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return text == "localhost"


def all_public(addresses):
    """ssrf-mixed: one address that is not allowed refuses them all."""
    return bool(addresses) and all(public(one) for one in addresses)


def parts(url):
    """Scheme, host without brackets, port, and the target of the request, byte for byte as in the URL."""
    scheme, host, port, path, query = _URL.fullmatch(url).groups()
    return scheme, host.strip("[]"), int(port or DEFAULT_PORTS[scheme]), path + (query or "")


def origin(url):
    """sub-no-secret: the only part of a URL that is ever shown."""
    return "/".join(url.split("/", 3)[:3])


def check(url, unsafe_loopback):
    """Refuses a URL that no callback may have, with the path `/callback/url`."""

    def refuse(expected):
        raise invalid("/callback/url", expected)

    match = _URL.fullmatch(url)
    # ssrf-normal-form: printable ASCII, no user information, no fragment, and nothing that a parser would write otherwise.
    if not match or len(url) > 2048 or not url.isascii():
        refuse("an https URL in WHATWG normal form")
    scheme, host, port, path, query = match.groups()
    if not _PATH.fullmatch(path) or not _QUERY.fullmatch(query or "?") or port and (int(port) > 65_535 or int(port) == DEFAULT_PORTS[scheme]):
        refuse("an https URL in WHATWG normal form")
    if any(re.sub("%2e", ".", segment, flags=re.I) in _DOTS for segment in path.split("/")):
        refuse("an https URL in WHATWG normal form")
    name = host.strip("[]")
    if "[" in host or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rstrip(".").rpartition(".")[2]):
        # A host that ends in a number is an address, whatever its spelling: 127.1, 0x7f000001, 2130706433.
        try:
            normal = str(ipaddress.ip_address(name))
        except ValueError:
            normal = None
        if normal != name or not public(name) and not (unsafe_loopback and loopback(name)):
            refuse("a host that is globally reachable")
    elif any(not 1 <= len(label) <= 63 for label in host.removesuffix(".").split(".")) or host.removesuffix(".") == "localhost" and not unsafe_loopback:
        refuse("a host that is globally reachable")
    elif host.removesuffix(".").endswith(".localhost"):
        refuse("a host that is globally reachable")
    # ssrf-https, with the exception of ssrf-development.
    if scheme == "http" and not (unsafe_loopback and loopback(name)):
        refuse("an https URL")


def resolve(host, port):
    """The addresses of a host; raises OSError."""
    if host == INSIDE:
        return ["10.0.0.1"]
    return [info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def connect(host, port, unsafe_loopback, timeout):
    """A connection to an address that was checked, not to a name that is looked up again (ssrf-connect). Raises OSError."""
    addresses = resolve(host, port)
    if not all_public(addresses) and not (unsafe_loopback and addresses and all(loopback(one) for one in addresses)):
        raise ConnectionRefusedError  # ssrf-blind
    # ssrf-ports: below 1024, only that of https.
    if port < 1024 and port != 443 and not loopback(addresses[0]):
        raise ConnectionRefusedError
    return socket.create_connection((addresses[0], port), timeout=timeout)
