"""Reading: renga.toml and RENGA_* become one frozen Config, or a ConfigError that says where and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct, inspect

from renga.config.lines import find_lines
from renga.config.routing import PolicySettings
from renga.config.settings import (
    NAMED_SECTIONS,
    SECTIONS,
    VARIABLES,
    Config,
    ProviderSettings,
    describe_type,
    plain_type,
    read_fields,
    unit_of,
    variable_name,
)
from renga.errors import ConfigError

FILE_NAME = "renga.toml"
ANTHROPIC_BASE_URL = "https://api.anthropic.com"
_ANTHROPIC_KEY_VARIABLE = "ANTHROPIC_API_KEY"


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the settings file, if there is one, then let RENGA_* variables override it.

    Order of search: `path`, RENGA_CONFIG, ./renga.toml, renga.toml in the user's settings folder; the first is read.
    Where ANTHROPIC_API_KEY is set and no provider is called `anthropic`, one is added, so that no file is needed.
    Raises: ConfigError naming file and line, or the variable, and what to do.
    """
    source = _read_source(path, environ)
    document = source.document
    for problem in _find_unknown(source):
        raise problem
    origins = _Origins(source, _apply_variables(document, environ))
    sections: dict[str, Any] = {
        name: _convert(origins, (name,), struct) for name, struct in SECTIONS.items() if name in document
    }
    for section, struct in NAMED_SECTIONS.items():
        names = cast("dict[str, Any]", document.get(section, {}))
        sections[section] = {name: _convert(origins, (section, name), struct) for name in names}
    if environ.get(_ANTHROPIC_KEY_VARIABLE) and "anthropic" not in sections["providers"]:
        sections["providers"]["anthropic"] = ProviderSettings(
            kind="anthropic", base_url=ANTHROPIC_BASE_URL, api_key_env=_ANTHROPIC_KEY_VARIABLE
        )
    config = Config(**sections)
    _check_names(origins, config)
    return config


def find_config_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that `load_config` reads; None if there is none."""
    named = path or (Path(environ["RENGA_CONFIG"]) if environ.get("RENGA_CONFIG") else None)
    if named is not None:
        return named
    import platformdirs

    for candidate in (Path(FILE_NAME), platformdirs.user_config_path("renga") / FILE_NAME):
        if candidate.is_file():
            return candidate
    return None


class _Source(Struct, frozen=True):
    """A parsed file, with the line of each key."""

    name: str
    document: dict[str, Any]
    lines: dict[tuple[str, ...], int]

    def place(self, keys: tuple[str, ...]) -> str:
        """`renga.toml:12`, the nearest line that is known."""
        for length in range(len(keys), 0, -1):
            line = self.lines.get(keys[:length])
            if line is not None:
                return f"{self.name}:{line}"
        return self.name


def _read_source(path: Path | None, environ: Mapping[str, str]) -> _Source:
    file = find_config_file(path, environ)
    if file is None:
        return _Source("", {}, {})
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read it: {error}", path=str(file)) from error
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        # Otherwise it says "at end of document".
        place = f"{file}:{found[1] if found else len(text.splitlines())}"
        raise ConfigError(f"not TOML: {str(error).partition(' (at')[0]}", path=place) from error
    return _Source(str(file), document, dict(find_lines(text)))


def _find_unknown(source: _Source) -> Iterator[ConfigError]:
    known = (*SECTIONS, *NAMED_SECTIONS)
    for section, value in source.document.items():
        if section not in known:
            yield _unknown(source, (section,), known)
        elif not isinstance(value, dict):
            yield ConfigError(f"`{section}` must be a table: write `[{section}]`", path=source.place((section,)))
        elif section in SECTIONS:
            yield from _find_unknown_fields(source, (section,), SECTIONS[section])
        else:
            for name in cast("dict[str, Any]", value):
                yield from _find_unknown_fields(source, (section, name), NAMED_SECTIONS[section])


def _find_unknown_fields(source: _Source, keys: tuple[str, ...], struct: type[Struct]) -> Iterator[ConfigError]:
    table: Any = source.document
    for key in keys:
        table = table[key]
    if not isinstance(table, dict):
        yield ConfigError(f"`{'.'.join(keys)}` must be a table", path=source.place(keys))
        return
    for field in cast("dict[str, Any]", table):
        if field in struct.__struct_fields__:
            continue
        if field in ("api_key", "key", "token", "secret"):
            yield ConfigError(
                f"`{'.'.join((*keys, field))}` would put a secret into the file",
                path=source.place((*keys, field)),
                hint='set it in the environment and name the variable: api_key_env = "MY_KEY"',
            )
        else:
            yield _unknown(source, (*keys, field), struct.__struct_fields__)


def _unknown(source: _Source, keys: tuple[str, ...], known: tuple[str, ...]) -> ConfigError:
    import difflib

    near = difflib.get_close_matches(keys[-1], known, 1)
    hint = f"did you mean `{'.'.join((*keys[:-1], near[0]))}`?" if near else f"known here: {', '.join(known)}"
    return ConfigError(f"unknown setting `{'.'.join(keys)}`", path=source.place(keys), hint=hint)


_TRUTH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_KUBERNETES = re.compile(r"RENGA_(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP)\w*)?)")
"""Variables that Kubernetes gives to every container beside a service called `renga...`; they are no settings.

Source: Kubernetes documentation, "Accessing the Service", environment variables (`enableServiceLinks`).
"""


def _apply_variables(document: dict[str, Any], environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Write RENGA_* values into the document. Returns which keys came from which variable."""
    known = {variable_name(section, field): (section, field) for section in SECTIONS for field in _names(section)}
    origins: dict[tuple[str, ...], str] = {}
    for variable, text in environ.items():
        if not variable.startswith("RENGA_") or variable in VARIABLES or _is_kubernetes(variable, text):
            continue
        keys = known.get(variable)
        if keys is None:
            raise _unknown_variable(variable, known)
        section, field = keys
        document.setdefault(section, {})[field] = _parse_text(plain_type(read_fields(SECTIONS[section])[field]), text)
        origins[keys] = variable
    return origins


def _names(section: str) -> tuple[str, ...]:
    return SECTIONS[section].__struct_fields__


def _is_kubernetes(variable: str, text: str) -> bool:
    if not _KUBERNETES.fullmatch(variable):
        return False
    return "SERVICE_" in variable or "_TCP" in variable or "_UDP" in variable or "://" in text


def _unknown_variable(variable: str, known: Mapping[str, tuple[str, str]]) -> ConfigError:
    import difflib

    # Without its section: the first section that has such a setting.
    same = [name for name in known if name.endswith(variable.removeprefix("RENGA"))]
    near = same[:1] or difflib.get_close_matches(variable, [*known, *VARIABLES], 1)
    hint = f"did you mean {near[0]}?" if near else "docs/reference/settings.md lists them; providers go into the file"
    return ConfigError(f"unknown variable {variable}", hint=hint)


def _parse_text(kind: inspect.Type, text: str) -> Any:
    """A variable's text as the value that the file would hold; left as it is where it does not fit."""
    try:
        match kind:
            case inspect.BoolType():
                return _TRUTH.get(text.strip().lower(), text)
            case inspect.IntType():
                return int(text)
            case inspect.FloatType():
                return float(text)
            case inspect.VarTupleType():
                return [part.strip() for part in text.split(",") if part.strip()]
            case _:
                return text
    except ValueError:
        return text


class _Origins(Struct, frozen=True):
    """Where each value came from, for the errors."""

    source: _Source
    variables: dict[tuple[str, ...], str]

    def error(self, keys: tuple[str, ...], message: str, hint: str | None = None) -> ConfigError:
        variable = self.variables.get(keys)
        if variable is not None:
            return ConfigError(message, path=variable, hint=hint)
        return ConfigError(f"`{'.'.join(keys)}`: {message}", path=self.source.place(keys) or None, hint=hint)


def _convert(origins: _Origins, keys: tuple[str, ...], struct: type[Struct]) -> Any:
    """One section of the document as its struct."""
    table: Any = origins.source.document
    for key in keys:
        table = table[key]
    fields = read_fields(struct)
    for name, field in fields.items():
        if field.required and name not in table:
            raise origins.error(keys, f"`{name}` is missing; it is {describe_type(plain_type(field))}")
    try:
        return msgspec.convert(table, struct)
    except msgspec.ValidationError as error:
        found = re.search(r"at `\$\.(\w+)", str(error))
        if found is None:
            raise origins.error(keys, str(error)) from error
        name = found[1]
        unit = unit_of(name)
        expected = describe_type(plain_type(fields[name])) + (f" ({unit})" if unit else "")
        raise origins.error((*keys, name), f"expected {expected}, got {_render_value(table[name])}") from error


def _render_value(value: object) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "..."


_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:-]*")
_POLICY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:-]*")
_RANKS = ("haiku", "sonnet", "opus")


def _check_names(origins: _Origins, config: Config) -> None:
    """What a type cannot say: names refer to something, URLs are URLs, secrets are not in the file."""
    if config.admin.port and config.admin.port == config.server.port:
        # Not even on another address: which routes a connection meets is told by the port.
        raise origins.error(("admin", "port"), "is the clients' port too", "choose another")
    for name, provider in config.providers.items():
        _check_provider(origins, name, provider)
    for name in config.models:
        _check_model(origins, name)
    known = {"local", *config.providers}
    for tier in ("haiku", "sonnet", "opus"):
        targets: tuple[str, ...] | None = getattr(config.tiers, tier)
        for target in targets or ():
            _check_target(origins, ("tiers", tier), target, known)
    for target in config.prices:
        _check_target(origins, ("prices", target), target, known)
    for name, discount in config.discounts.items():
        if discount.target != "*":
            _check_target(origins, ("discounts", name, "target"), discount.target, known)
    for name, policy in config.policies.items():
        _check_policy(origins, name, policy, known)
    for target in config.targets:
        _check_target(origins, ("targets", target), target, known)
    for target in config.canaries:
        _check_target(origins, ("canaries", target), target, known)


def _check_provider(origins: _Origins, name: str, provider: ProviderSettings) -> None:
    keys = ("providers", name)
    if name == "local" or not _PROVIDER_NAME.fullmatch(name):
        taken = "`local` is the engine's own name" if name == "local" else "use small letters, digits, - and _"
        raise origins.error(keys, "not a name for a provider", taken)
    for field, url in (("base_url", provider.base_url), *(("replicas", url) for url in provider.replicas)):
        if not re.match(r"https?://[^/]", url):
            raise origins.error((*keys, field), "must begin with http:// or https://")
        if url.rstrip("/").endswith("/v1"):
            raise origins.error((*keys, field), "must not end with /v1", "Renga adds it")
    if provider.api_key_env and provider.api_key_file:
        raise origins.error((*keys, "api_key_file"), "the key has one place", "leave out this or api_key_env")
    if provider.api_key_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", provider.api_key_env):
        raise origins.error(
            (*keys, "api_key_env"), "is not the name of a variable", "put the key there, and its name here"
        )


def _check_model(origins: _Origins, name: str) -> None:
    """A local model's name is its own: clients may ask for it without `local/` before it."""
    if not _MODEL_NAME.fullmatch(name):
        raise origins.error(("models", name), "not a name for a model", "use letters, digits, - _ . @ and :")
    if name == "auto" or name in _RANKS or name.startswith("claude-"):
        raise origins.error(("models", name), "is a name that clients use for something else", "choose another")


def _check_policy(origins: _Origins, name: str, policy: PolicySettings, known: set[str]) -> None:
    keys = ("policies", name)
    if not _POLICY_NAME.fullmatch(name):
        raise origins.error(keys, "not a name that a client can ask for", "use letters, digits, - _ . @ and :")
    if policy.second is not None:
        _check_target(origins, (*keys, "second"), policy.second, known)
    if policy.judge is not None and policy.judge not in ("haiku", "sonnet", "opus"):
        _check_target(origins, (*keys, "judge"), policy.judge, known)
    if policy.judge is None and "judge" in (policy.checks or ()):
        raise origins.error((*keys, "checks"), "`judge` is asked for and none is named", 'add judge = "opus"')
    order = [tier for tier in (policy.small, policy.middle, policy.top) if tier is not None]
    if order != sorted(set(order), key=_RANKS.index):
        raise origins.error(keys, f"{' < '.join(order)} does not go up", f"the order is {' < '.join(_RANKS)}")
    if policy.certificate is not None and policy.floor_points is None:
        raise origins.error((*keys, "certificate"), "proves a floor that is not set", "add floor_points")
    if policy.point_usd is not None and (policy.head is None or policy.floor_points is not None):
        raise origins.error((*keys, "point_usd"), "needs `head`, and promises no floor", "choose one of the two")


def _check_target(origins: _Origins, keys: tuple[str, ...], target: str, known: set[str]) -> None:
    provider, slash, model = target.partition("/")
    if not slash or not model:
        raise origins.error(keys, f'"{target}" is not a target', 'write "provider/model", as "local/hokku"')
    if provider not in known:
        hint = f"add [providers.{provider}], or use one of: {', '.join(sorted(known))}"
        raise origins.error(keys, f'"{target}" names no provider', hint)
