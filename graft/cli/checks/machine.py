"""Checks of what Graft stands on: Python, packages, the data folder, the token, the port, the proxy."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from packaging.requirements import InvalidRequirement, Requirement

import graft
from graft.cli import ports
from graft.cli.checks import Finding, Findings, error, of_error, ok, warning
from graft.control.tokens import named_tokens
from graft.errors import SettingError
from graft.gateways.addresses import local_address
from graft.settings import Settings

OLDEST = (3, 11)
NEWEST_TESTED = (3, 13)
LEAST_FREE = 200 * 1024 * 1024
"""Bytes on the disk of the data folder: the search index and the log of background tasks grow there."""

LEAST_FILES = 4096
"""Open files a process: each connection is one, and Debian's default is 1024."""

SHORTEST_TOKEN = 16


def python() -> Findings:
    found = sys.version_info[:2]
    version_here = f"{sys.version.split()[0]} ({sys.executable})"
    if found < OLDEST:
        yield error("python", version_here, f"Graft needs {_dotted(OLDEST)} or newer.")
    elif found > NEWEST_TESTED:
        yield warning("python", version_here, f"Tested are {_dotted(OLDEST)} to {_dotted(NEWEST_TESTED)}.")
    else:
        yield ok("python", version_here)


def packages() -> Findings:
    """What is installed against what is asked for. A package that is missing is an error, another version a warning."""
    required = [requirement for requirement in _requirements() if _applies(requirement)]
    faults = [fault for requirement in required for fault in _faults(requirement)]
    yield from faults
    if not faults:
        yield ok("packages", f"all {len(required)} installed as asked for")


def data_folder(settings: Settings) -> Findings:
    folder = settings.data.absolute()
    place = _nearest(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            pass
    except OSError as failed:
        mend = f"Let this user write there (chown, chmod), or set GRAFT_DATA. Tried in {place}."
        yield error("data folder", f"{folder} can't be written: {failed.strerror}", mend)
        return
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE:
        yield warning("data folder", f"{folder}, only {free // 1_000_000} MB free", "Make room, or set GRAFT_DATA.")
    else:
        yield ok("data folder", f"{folder}, writable, {free / 1e9:.1f} GB free")


def token(settings: Settings) -> Findings:
    if settings.admin_tokens:
        try:
            named = named_tokens(settings.admin_tokens)
            yield ok("tokens", ", ".join(dict.fromkeys(f"{each.name} ({each.role})" for each in named)) or "none")
        except SettingError as wrong:
            yield of_error("tokens", wrong)
    if settings.admin_token is not None:
        yield _check_own_token(settings.admin_token.get_secret_value())
        return
    path = settings.data / "admin-token"
    try:
        kept, mode = path.read_text().strip(), stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        yield ok("token", f"none yet: the first start makes one and keeps it at {path}")
    except (OSError, UnicodeDecodeError) as failed:
        yield error("token", f"{path} can't be read: {failed}", "Let this user read it, or set GRAFT_ADMIN_TOKEN.")
    else:
        yield _kept(path, kept, mode)


def port(settings: Settings) -> Findings:
    where = ports.address(settings.host, settings.port)
    try:
        ports.check(settings.host, settings.port)
    except ports.PortInUse as taken:
        if _is_gateway(settings):
            yield ok("port", f"{where}, a gateway answers there")
        else:
            yield of_error("port", taken)
    except SettingError as failed:
        yield of_error("port", failed)
    else:
        yield ok("port", f"{where} is free")


def proxy(settings: Settings) -> Findings:
    """Whose X-Forwarded-* headers are believed, and who can reach the gateway."""
    trusted = [each.strip() for each in settings.forwarded_allow_ips.split(",") if each.strip()]
    faults = [*_trust(settings, trusted)]
    yield from faults
    if not faults:
        believed = ", ".join(trusted) or "nobody"
        yield ok("proxy", f"X-Forwarded-* believed from {believed}; listens on {settings.host}")


def files() -> Findings:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        mend = f"ulimit -n {LEAST_FILES} before the start, or LimitNOFILE={LEAST_FILES * 16} in the systemd unit."
        yield warning("open files", f"{soft} a process, each connection takes one", mend)
    else:
        yield ok("open files", "no limit" if soft == resource.RLIM_INFINITY else f"{soft} a process")


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _requirements() -> Iterator[Requirement]:
    beside = Path(graft.__file__).parents[1] / "requirements.txt"
    if beside.is_file():
        lines = [line.partition("#")[0].strip() for line in beside.read_text(encoding="utf-8").splitlines()]
    else:
        lines = [line for line in _metadata() if "extra ==" not in line]
    for line in filter(None, lines):
        try:
            yield Requirement(line)
        except InvalidRequirement:  # "-r other.txt" and the like
            continue


def _metadata() -> list[str]:
    try:
        return requires(graft.DISTRIBUTION) or []
    except PackageNotFoundError:
        return []


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def _faults(requirement: Requirement) -> Findings:
    mend = f"pip install '{requirement.name}{_extras(requirement)}{requirement.specifier}'"
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        yield error("packages", f"{requirement.name} is not installed", mend)
        return
    if not requirement.specifier.contains(installed, prereleases=True):
        tested = str(requirement.specifier).removeprefix("==")
        yield warning("packages", f"{requirement.name} is {installed}, tested is {tested}", mend)
    for name in _missing_of_extras(requirement):
        yield warning("packages", f"{name} is not installed, {requirement.name}{_extras(requirement)} brings it", mend)


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def _missing_of_extras(requirement: Requirement) -> Iterator[str]:
    for line in (requires(requirement.name) or []) if requirement.extras else []:
        inner = Requirement(line)
        if inner.marker is None or inner.marker.evaluate({"extra": ""}):
            continue
        if any(inner.marker.evaluate({"extra": extra}) for extra in requirement.extras):
            try:
                version(inner.name)
            except PackageNotFoundError:
                yield inner.name


def _nearest(folder: Path) -> Path:
    """The folder itself, else what is there of the way to it."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _check_own_token(value: str) -> Finding:
    if len(value) < SHORTEST_TOKEN:
        mend = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes a good one."
        return warning("token", f"GRAFT_ADMIN_TOKEN has only {len(value)} characters", mend)
    return ok("token", "from GRAFT_ADMIN_TOKEN")


def _kept(path: Path, value: str, mode: int) -> Finding:
    if not value:
        return error("token", f"{path} is empty", "Delete the file: the next start makes a new token.")
    if os.name == "posix" and mode & 0o077:
        mend = f"chmod 600 {path}, and delete it before the next start if somebody may have read it."
        return warning("token", f"{path} can be read by others (mode {mode:04o})", mend)
    return ok("token", f"kept at {path}")


def _is_gateway(settings: Settings) -> bool:
    url = f"{local_address(settings.host, settings.port)}/_graft/health"
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=2) as answer:
            body: Any = json.load(answer)
    except (URLError, OSError, ValueError):
        return False
    return isinstance(body, dict) and body.get("status") == "ok"


def _trust(settings: Settings, trusted: list[str]) -> Findings:
    if "*" in trusted and not _is_loopback(settings.host):
        mend = "Name the proxies' addresses or networks in FORWARDED_ALLOW_IPS, or listen on 127.0.0.1 or a socket."
        yield warning("proxy", f"everyone who reaches {settings.host} may claim any client address and host", mend)
    for each in trusted:
        if each != "*" and not _is_network(each):
            mend = "Write addresses as in 10.0.0.7 or networks as in 10.0.0.0/8, with commas between."
            yield warning("proxy", f"FORWARDED_ALLOW_IPS has {each!r}, which is no address: no peer matches it", mend)
    if not _is_loopback(settings.host) and set(trusted) <= {"127.0.0.1", "::1"}:
        mend = "Put a proxy in front; one on another machine has to be named in FORWARDED_ALLOW_IPS."
        yield warning("proxy", f"listens on {settings.host}, but believes no proxy outside this machine", mend)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
