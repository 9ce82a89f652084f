"""Settings come from a file and the environment, and what is wrong is named with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from renga.config import Config, data_dir, database_url, load_config, settings_table
from renga.config.lines import find_lines
from renga.config.settings import SECTIONS
from renga.errors import ConfigError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        file = tmp_path / "renga.toml"
        file.write_text(text)
        return file

    return write_file


def sentence(path: Path | None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {})
    return caught.value.sentence()


def test_without_a_file_everything_has_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(None, {}) == Config()


def test_a_whole_file(write: Write) -> None:
    config = load_config(
        write(
            """
            [server]
            port = 9000
            [tiers]
            haiku = ["local/hokku", "vllm/qwen3-8b"]
            [providers.vllm]
            kind = "openai_compatible"
            base_url = "http://127.0.0.1:8000"
            idle_timeout_s = 5
            [prices."vllm/qwen3-8b"]
            input_usd = 0.05
            output_usd = 0.2
            """
        ),
        {},
    )
    assert config.server.port == 9000
    assert config.tiers.haiku == ("local/hokku", "vllm/qwen3-8b")
    assert config.tiers.sonnet is None
    assert config.providers["vllm"].idle_timeout_s == 5.0
    assert config.prices["vllm/qwen3-8b"].output_usd == 0.2


def test_variables_win_over_the_file(write: Write) -> None:
    environ = {
        "RENGA_SERVER_PORT": "9001",
        "RENGA_ENGINE_ENABLED": "no",
        "RENGA_TIERS_HAIKU": "local/hokku, local/other",
        "RENGA_LEDGER_FLUSH_INTERVAL_S": "0.5",
    }
    config = load_config(write("[server]\nport = 9000\nhost = '0.0.0.0'"), environ)
    assert (config.server.port, config.server.host) == (9001, "0.0.0.0")
    assert config.engine.enabled is False
    assert config.tiers.haiku == ("local/hokku", "local/other")
    assert config.ledger.flush_interval_s == 0.5


def test_the_file_is_found_where_the_reference_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "renga").mkdir(parents=True)
    (tmp_path / "home" / "renga" / "renga.toml").write_text("[server]\nport = 1")
    assert load_config(None, {}).server.port == 1
    (tmp_path / "renga.toml").write_text("[server]\nport = 2")
    assert load_config(None, {}).server.port == 2
    (tmp_path / "named.toml").write_text("[server]\nport = 3")
    assert load_config(None, {"RENGA_CONFIG": "named.toml"}).server.port == 3
    (tmp_path / "given.toml").write_text("[server]\nport = 4")
    assert load_config(Path("given.toml"), {"RENGA_CONFIG": "named.toml"}).server.port == 4
    assert "missing.toml" in sentence(Path("missing.toml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\n\nprot = 1", "renga.toml:3: unknown setting `server.prot` (did you mean `server.port`?)"),
        ("[sever]\nport = 1", "renga.toml:1: unknown setting `sever` (did you mean `server`?)"),
        ("port = 1", "renga.toml:1: unknown setting `port`"),
        ("[server]\nport = 'x'", "renga.toml:2: `server.port`: expected a whole number from 0 to 65535, got 'x'"),
        ("[server]\nport = 70000", "renga.toml:2: `server.port`: expected a whole number from 0 to 65535, got 70000"),
        ("[server]\nport = true", "renga.toml:2: `server.port`: expected a whole number from 0 to 65535, got true"),
        ("server = 1", "renga.toml:1: `server` must be a table: write `[server]`"),
        (
            "[server]\nbody_timeout_s = 0",
            "renga.toml:2: `server.body_timeout_s`: expected a number above 0 (seconds), got 0",
        ),
        ("[tiers]\nhaiku = 'local/x'", "renga.toml:2: `tiers.haiku`: expected a list of texts, got 'local/x'"),
        ("[tiers]\nhaiku = ['hokku']", 'renga.toml:2: `tiers.haiku`: "hokku" is not a target'),
        ("[tiers]\nhaiku = ['vllm/x']", 'renga.toml:2: `tiers.haiku`: "vllm/x" names no provider'),
        ("[providers.a]\nkind = 'anthropic'", "renga.toml:1: `providers.a`: `base_url` is missing; it is a text"),
        ("[providers.local]\nkind='anthropic'\nbase_url='http://x'", "renga.toml:1: `providers.local`: not a name"),
        ("[providers]\na = 1", "renga.toml:2: `providers.a` must be a table"),
        (
            "[providers.a]\nkind='anthropic'\nbase_url='http://x/v1'",
            "renga.toml:3: `providers.a.base_url`: must not end with /v1",
        ),
        ("[providers.a]\nkind='anthropic'\nbase_url='x'", "renga.toml:3: `providers.a.base_url`: must begin with http"),
        ("[prices.'x/y']\ninput_usd=1\noutput_usd=1", 'renga.toml:1: `prices.x/y`: "x/y" names no provider'),
        (
            "[prices.'local/*']\ninput_usd=-1\noutput_usd=1",
            "renga.toml:2: `prices.local/*.input_usd`: expected a number",
        ),
        ("[admin]\nport = 8080", "renga.toml:2: `admin.port`: is the clients' port too"),
        (
            '[discounts.x]\ntarget = "nowhere/*"\npercent = 5',
            'renga.toml:2: `discounts.x.target`: "nowhere/*" names no provider',
        ),
        (
            '[discounts.x]\ntarget = "*"\npercent = 0',
            "renga.toml:3: `discounts.x.percent`: expected a number above 0 up to 100, got 0",
        ),
        (
            '[discounts.x]\ntarget = "*"\npercent = 5\nends_on = "soon"',
            "renga.toml:4: `discounts.x.ends_on`: expected a day, as 2026-12-01",
        ),
        ("[server\nport = 1", "renga.toml:1: not TOML"),
        ("[server]\nport = 1\nport = 2", "renga.toml:3: not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write: Write, text: str, expected: str) -> None:
    file = write(text)
    assert sentence(file).startswith(expected.replace("renga.toml", str(file), 1))


def test_a_secret_in_the_file_is_refused_and_not_repeated(write: Write) -> None:
    head = "[providers.a]\nkind = 'anthropic'\nbase_url = 'http://x'\n"
    for line in ("api_key = 'sk-very-secret'", "api_key_env = 'sk-very-secret'"):
        message = sentence(write(head + line))
        assert ":4: " in message
        assert "sk-very-secret" not in message
    assert "api_key_env" in sentence(write(head + "api_key = 'sk-very-secret'"))


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("RENGA_SERVER_PRT", "1", "unknown variable RENGA_SERVER_PRT (did you mean RENGA_SERVER_PORT?)"),
        ("RENGA_PROVIDERS_A_KIND", "anthropic", "unknown variable RENGA_PROVIDERS_A_KIND"),
        ("RENGA_PORT", "8080", "unknown variable RENGA_PORT (did you mean RENGA_SERVER_PORT?)"),
        ("RENGA_SERVER_PORT", "x", "RENGA_SERVER_PORT: expected a whole number from 0 to 65535, got 'x'"),
        ("RENGA_ENGINE_ENABLED", "maybe", "RENGA_ENGINE_ENABLED: expected true or false, got 'maybe'"),
        ("RENGA_LEDGER_FLUSH_INTERVAL_S", "5", "RENGA_LEDGER_FLUSH_INTERVAL_S: expected a number above 0 up to 1 (sec"),
    ],
)
def test_what_is_wrong_in_a_variable_is_named(variable: str, text: str, expected: str) -> None:
    assert sentence(None, {variable: text}).startswith(expected)


def test_what_kubernetes_sets_for_a_service_called_renga_is_no_setting() -> None:
    environ = {
        "RENGA_PORT": "tcp://10.0.0.1:8080",
        "RENGA_SERVICE_HOST": "10.0.0.1",
        "RENGA_SERVICE_PORT": "8080",
        "RENGA_PORT_8080_TCP_ADDR": "10.0.0.1",
        "RENGA_SERVER_PORT": "tcp://10.0.0.1:8080",
    }
    assert load_config(None, environ).server.port == 8080


def test_an_anthropic_key_is_a_provider(write: Write) -> None:
    environ = {"ANTHROPIC_API_KEY": "secret"}
    provider = load_config(None, environ).providers["anthropic"]
    assert (provider.kind, provider.base_url) == ("anthropic", "https://api.anthropic.com")
    assert provider.api_key_env == "ANTHROPIC_API_KEY"
    own = "[providers.anthropic]\nkind = 'anthropic'\nbase_url = 'http://127.0.0.1:1'"
    assert load_config(write(own), environ).providers["anthropic"].base_url == "http://127.0.0.1:1"
    assert "anthropic" not in load_config(None, {}).providers


def test_lines_of_keys() -> None:
    text = """
[server]  # a table
port = 1
host = '''
port = 2
'''
"quoted key" = "[not a table]"
[tiers]
haiku = [
  "a/b",  # ] not the end
  "c/d",
]
sonnet = ["x"]
[prices."vllm/a.b"]
input_usd.deep = 1
"""
    assert dict(find_lines(text)) == {
        ("server",): 2,
        ("server", "port"): 3,
        ("server", "host"): 4,
        ("server", "quoted key"): 7,
        ("tiers",): 8,
        ("tiers", "haiku"): 9,
        ("tiers", "sonnet"): 13,
        ("prices", "vllm/a.b"): 14,
        ("prices", "vllm/a.b", "input_usd", "deep"): 15,
    }


def test_the_table_names_every_setting_once() -> None:
    table = settings_table()
    names = [row.name for row in table]
    assert len(set(names)) == len(names)
    assert all(row.help.endswith(".") for row in table)
    for section, struct in SECTIONS.items():
        for field in struct.__struct_fields__:
            row = next(row for row in table if row.name == f"{section}.{field}")
            assert row.variable == f"RENGA_{section.upper()}_{field.upper()}"
    assert next(row for row in table if row.name == "ledger.flush_interval_s").unit == "seconds"


def test_where_the_database_is(tmp_path: Path) -> None:
    store = load_config(None, {"RENGA_STORE_DATA_DIR": str(tmp_path)}).store
    assert data_dir(store) == tmp_path
    assert database_url(store) == f"sqlite:///{tmp_path / 'renga.db'}"
    other = load_config(None, {"RENGA_STORE_URL": "postgresql://db/renga"}).store
    assert database_url(other) == "postgresql://db/renga"
