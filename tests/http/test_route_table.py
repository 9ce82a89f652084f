"""Paths and what they mean: the table against a slow oracle, and the paths of other clouds."""

import re
from functools import cache
from itertools import product
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renga.errors import MethodNotAllowed
from renga.http.messages.surface import MessagesSurface
from renga.http.path_patterns import parse_pattern
from renga.http.public_routes import PUBLIC_ROUTES
from renga.http.route_table import Route, RouteTable

SEGMENTS = ["a", "b", "ab", "{x}", "a{x}", "{x}b", "a{x}b", "{x*}"]
UNIVERSE = [
    "/" + "/".join(segments) for length in range(1, 6) for segments in product(["a", "b", "ab", "aab"], repeat=length)
]
"""Every path that the properties look at: each segment matches some of the patterns' segments and not others."""


async def handle(exchange, parts):
    pass


def name_parameters(segments):
    return "/" + "/".join(segment.replace("x", f"x{index}") for index, segment in enumerate(segments))


PATTERN = (
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=3)
    .filter(lambda segments: segments.count("{x*}") < 2)
    .map(name_parameters)
)


def matches_slowly(pattern, path):
    """A pattern as a regular expression, written down from the table's documentation."""
    expression = "".join(
        piece if not piece.startswith("{") else "(.+)" if piece.endswith("*}") else "([^/]+)"
        for piece in re.split(r"(\{[^}]*\})", pattern)
    )
    return re.fullmatch(expression, path)


@cache
def language(pattern):
    return {path for path in UNIVERSE if matches_slowly(pattern, path)}


def find(table, path, method="GET"):
    match = table.match(path)
    exchange = SimpleNamespace(method=method, parameters={}, route="", allowed="")
    return None if match is None else (match.choose(exchange, path).path, dict(exchange.parameters))


@settings(max_examples=100)
@given(st.lists(PATTERN, min_size=1, max_size=5, unique=True))
def test_a_table_finds_what_the_oracle_finds_or_is_refused(patterns):
    try:
        table = RouteTable([Route("GET", pattern, handle) for pattern in patterns])
    except ValueError as refusal:
        assert "a path could be both" in str(refusal)
        assert any(language(one) & language(other) for one in patterns for other in patterns if one != other)
        return
    languages = {pattern: language(pattern) for pattern in patterns}
    for path in UNIVERSE:
        fitting = [pattern for pattern in patterns if path in languages[pattern]]
        found = find(table, path)
        assert (found is None) == (not fitting), path
        if found is None:
            continue
        pattern, parameters = found
        assert pattern in fitting, path
        assert tuple(parameters.values()) == matches_slowly(pattern, path).groups()
        for other in fitting:
            assert languages[pattern] <= languages[other], f"{path}: {other} says more than {pattern}"


@given(PATTERN, PATTERN)
def test_what_patterns_say_of_each_other_is_so(one, other):
    first, second = parse_pattern(one), parse_pattern(other)
    if first.covers(second):
        assert language(other) <= language(one)
    if language(one) & language(other):
        assert first.overlaps(second)
        assert second.overlaps(first)


@given(PATTERN, st.sampled_from(UNIVERSE))
def test_an_exact_path_comes_before_every_pattern(pattern, path):
    table = RouteTable([Route("GET", pattern, handle), Route("GET", path, handle)] if pattern != path else [])
    assert find(table, path) == (None if pattern == path else (path, {}))


VERTEX = "/v1/projects/{project}/locations/{location}/publishers/anthropic/models/{model}"
CLOUDS = RouteTable(
    [
        Route("POST", f"{VERTEX}:rawPredict", handle),
        Route("POST", f"{VERTEX}:streamRawPredict", handle),
        Route("POST", "/model/{model*}/invoke", handle),
        Route("POST", "/model/{model*}/invoke-with-response-stream", handle),
        Route("POST", "/model/{model*}/count-tokens", handle),
        Route("GET", "/v1/models/{model*}", handle),
        Route("DELETE", "/v1/models/{model*}", handle),
    ]
)


@pytest.mark.parametrize(
    ("path", "route", "parameters"),
    [
        (
            "/v1/projects/p-1/locations/us-east5/publishers/anthropic/models/claude-haiku-4-5@20251001:rawPredict",
            f"{VERTEX}:rawPredict",
            ("p-1", "us-east5", "claude-haiku-4-5@20251001"),
        ),
        (
            "/v1/projects/p/locations/global/publishers/anthropic/models/a:b:streamRawPredict",
            f"{VERTEX}:streamRawPredict",
            ("p", "global", "a:b"),
        ),
        ("/model/us.x-v1:0/invoke", "/model/{model*}/invoke", ("us.x-v1:0",)),
        (
            "/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.x-v1:0/invoke-with-response-stream",
            "/model/{model*}/invoke-with-response-stream",
            ("arn:aws:bedrock:us-east-1:1:inference-profile/us.x-v1:0",),
        ),
        ("/model/invoke/invoke/invoke", "/model/{model*}/invoke", ("invoke/invoke",)),
        ("/v1/models/org/name", "/v1/models/{model*}", ("org/name",)),
    ],
)
def test_paths_of_other_clouds(path, route, parameters):
    found = CLOUDS.match(path)
    assert found is not None
    assert set(found.routes.values()) <= {each for each in found.routes.values() if each.path == route}
    assert tuple(found.parameters.values()) == parameters


@pytest.mark.parametrize(
    "path",
    [
        "/model/invoke",
        "/model//invoke",
        "/model/x/invoke/",
        "/v1/models/",
        "/v1/projects/p/q/locations/l/publishers/anthropic/models/m:rawPredict",
        "/v1/projects/p/locations/l/publishers/anthropic/models/:rawPredict",
        "/v1/projects/p/locations/l/publishers/anthropic/models/m:predict",
        "",
        "nothing",
    ],
)
def test_paths_that_are_nobodys(path):
    assert CLOUDS.match(path) is None


def test_methods_of_one_pattern_are_one_row():
    assert find(CLOUDS, "/v1/models/x", "DELETE") == ("/v1/models/{model*}", {"model": "x"})
    assert find(CLOUDS, "/v1/models/x", "HEAD") == ("/v1/models/{model*}", {"model": "x"})
    with pytest.raises(MethodNotAllowed, match="use GET, DELETE"):
        try:
            find(CLOUDS, "/v1/models/x", "POST")
        except MethodNotAllowed as error:
            raise MethodNotAllowed(error.sentence()) from None


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (("/a/{x}/c", "/a/b/{y}"), "could be both"),
        (("/a/{x}", "/a/{y}"), "could be both"),
        (("/a/{x*}/c", "/a/c/{y*}"), "could be both"),
        (("/a/{x}:b", "/a/c:{y}"), "could be both"),
        (("/a", "/a"), "stands twice"),
        (("/a/{x}/{x}",), "a name of its own"),
        (("/{x*}/{y*}",), "only one parameter"),
        (("/a{x*}",), "not a segment"),
        (("/{x}{y}",), "not a segment"),
        (("/{}",), "not a segment"),
        (("/{X}",), "not a segment"),
        (("/{x",), "not a segment"),
        (("/{x}/",), "empty segments"),
        (("{x}",), "begins with a slash"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(paths, reason):
    with pytest.raises(ValueError, match=reason):
        RouteTable([Route("GET", path, handle) for path in paths])


def test_routes_of_one_path_speak_one_format():
    other = MessagesSurface(name="other")
    with pytest.raises(ValueError, match="the same format"):
        RouteTable([Route("GET", "/a", handle), Route("POST", "/a", handle, surface=other)])


def test_the_tables_own_routes_are_found():
    table = RouteTable(PUBLIC_ROUTES)
    for route in PUBLIC_ROUTES:
        path = re.sub(r"{.*?}", "x", route.path)
        assert find(table, path, route.method)[0] == route.path


async def test_parameters_reach_a_handler_decoded(served):
    for path in ("/v1/models/no/such%3Amodel", "/v1/models/no%2Fsuch:model"):
        response = await served.ask("GET", path)
        assert response.status == 404
        assert response.json()["error"]["message"].startswith("model: no/such:model")
