"""What the router is told: by a YAML file, by flags, or both. Read once, at the start."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)

#: Tokens that a request has to lack before its prefill is worth a second engine: below the default chunk there is
#: nothing that the tier could carry from one to the other.
DEFAULT_PREFILL_MIN_TOKENS = 256


class SettingsError(Exception):
    """A setting that cannot be used; the message names it, the value seen and the rule."""


def _readable(file: Path) -> Path:
    try:
        if not file.read_text(encoding="utf-8").strip():
            raise ValueError("must not be an empty file")
    except OSError as error:
        raise ValueError(f"must be a file that can be read ({error.strerror})") from error
    return file


#: A file that can be read and has text in it.
KeyFile = Annotated[Path, AfterValidator(_readable)]


class Role(str, Enum):
    """What an engine is for. ``both``: it serves whole requests, and either half where the other kind is missing."""

    PREFILL = "prefill"
    DECODE = "decode"
    BOTH = "both"


class EngineSettings(BaseModel):
    """One engine.

    Attributes:
        url: where its OpenAI-compatible API is, without a path.
        role: see :class:`Role`.
        node: the engine socket of the Kvasir node beside it, when this process may open it; for prefix scores.
        node_name: the name of that node in its cluster. A prefill that is for another node is handed off to that name.
        api_key_file: a file with the engine's API key, for the router's own questions; requests keep their client's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    role: Role = Role.BOTH
    node: Path | None = None
    node_name: str = ""
    api_key_file: KeyFile | None = None

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        return engine_url(url)


class Timeouts(BaseModel):
    """Bounds in seconds. Nothing that the router waits for is without one.

    Attributes:
        connect: until an engine accepts a connection.
        prefill: until a prefill engine has answered; then the decode engine computes the prompt itself.
        first_byte: until an engine begins to answer. Long prompts queue, so this is generous.
        idle: between two pieces of an answer.
        total: of one request, from its arrival to its end.
        probe: of one health probe.
        scores: of asking nodes and engines what they hold; late answers count as nothing held.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect: PositiveFloat = 2.0
    prefill: PositiveFloat = 60.0
    first_byte: PositiveFloat = 120.0
    idle: PositiveFloat = 60.0
    total: PositiveFloat = 1800.0
    probe: PositiveFloat = 2.0
    scores: PositiveFloat = 0.05


class RouterSettings(BaseModel):
    """All settings.

    Attributes:
        listen: address and port of the front.
        engines: at least one.
        prefill_min_tokens: a prompt that lacks fewer tokens on its decode engine is not prefilled elsewhere.
        load_weight: how many tokens to compute weigh as much as one token that waits in an engine before them.
        attempts: engines that are tried for one request before it fails.
        probe_every: seconds between two health probes of an engine.
        probe_attempts: health probes in a row that an engine leaves unanswered before it counts as down.
        max_request_bytes: a longer request is refused.
        shutdown_grace: seconds that answers under way get after SIGTERM.
        token: names the tenant to the engines' nodes, where they are configured with tokens.
        api_key_file: ``engines[].api_key_file`` of every engine that has none of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str = "127.0.0.1:8000"
    engines: tuple[EngineSettings, ...]
    prefill_min_tokens: int = Field(default=DEFAULT_PREFILL_MIN_TOKENS, ge=0)
    load_weight: float = Field(default=0.1, ge=0)
    attempts: PositiveInt = 3
    probe_every: PositiveFloat = 1.0
    probe_attempts: PositiveInt = 3
    max_request_bytes: PositiveInt = 32 << 20
    shutdown_grace: PositiveFloat = 30.0
    token: str = Field(default="", repr=False)
    api_key_file: KeyFile | None = None
    timeouts: Timeouts = Timeouts()

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str) -> str:
        host, colon, port = listen.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("must be HOST:PORT")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError("must have its IPv6 address in brackets, as in [::1]:8000")
        return listen

    @field_validator("engines")
    @classmethod
    def _distinct(cls, engines: tuple[EngineSettings, ...]) -> tuple[EngineSettings, ...]:
        if not engines:
            raise ValueError("must name at least one engine")
        urls = [engine.url for engine in engines]
        twice = sorted({url for url in urls if urls.count(url) > 1})
        if twice:
            raise ValueError(f"the same url twice: {', '.join(twice)}")
        return engines

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on; 0: one that is free."""
        return int(self.listen.rpartition(":")[2])


def engine_url(url: str) -> str:
    """The address of an engine as the router uses it, without a slash at its end.

    Raises:
        ValueError: it is not ``http(s)://HOST[:PORT]`` with a host and a port that can exist.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"must be http://HOST:PORT ({error})") from error
    if not host or port == 0:
        raise ValueError("must name a host, and a port from 1 to 65535 if any")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be an address alone, without a path, a query or a user: http://HOST:PORT")
    if ":" in host:
        ipaddress.IPv6Address(host.partition("%")[0])
    elif not all(_is_label(label) for label in host.removesuffix(".").split(".")):
        raise ValueError("must have a host name that can exist (a label between dots is empty, too long or odd)")
    return url.rstrip("/")


def _is_label(label: str) -> bool:
    try:
        encoded = label.encode("idna")
    except UnicodeError:
        return False
    return 0 < len(encoded) <= 63 and all(chr(byte).isalnum() or byte in b"-_" for byte in encoded)


def parse_engine(text: str) -> dict[str, str]:
    """``URL[,role=prefill|decode|both][,node=SOCKET][,node-name=NAME][,api-key-file=FILE]``: an engine as a flag.

    Raises:
        SettingsError: a part is not of the form NAME=VALUE.
    """
    url, *parts = text.split(",")
    found = {"url": url}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals:
            raise SettingsError(f"--engine {text}: {part!r} is not NAME=VALUE")
        found[name.strip().replace("-", "_")] = value
    return found


def read_settings(file: Path | None, overrides: Mapping[str, Any]) -> RouterSettings:
    """The file's settings with ``overrides`` in place of what they name.

    Raises:
        SettingsError: names every setting that cannot be used.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"{file}: {error}") from error
        if not isinstance(loaded, dict):
            raise SettingsError(f"{file}: must be a mapping of settings; seen: {type(loaded).__name__}")
        values.update(loaded)
    values.update(overrides)
    try:
        return RouterSettings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(dict(problem)) for problem in error.errors())) from error


def _sentence(problem: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such setting"
    if problem["type"] == "missing":
        return f"{where}: is missing" + (" (name at least one engine: --engine URL)" if where == "engines" else "")
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}; seen: {problem['input']!r}"
