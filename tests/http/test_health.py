"""/health, /ready, /metrics and the telemetry of clients."""


async def test_health_says_nothing_of_models(served):
    served.provider.is_ready = False
    response = await served.ask("GET", "/health", headers={})
    assert response.status == 200
    assert response.json()["status"] == "ok"


async def test_the_root_says_what_to_ask(served):
    response = await served.ask("GET", "/", headers={})
    assert (response.status, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert "POST /v1/messages " in response.body.decode()
    assert (await served.ask("HEAD", "/", headers={})).status == 200


async def test_ready(served):
    response = await served.ask("GET", "/ready", headers={})
    assert (response.status, response.json()["ready"]) == (200, True)
    served.provider.is_ready = False
    response = await served.ask("GET", "/ready", headers={})
    assert response.status == 503
    assert response.json() == {
        "ready": False,
        "providers": {"local": {"ready": False, "detail": "the model is being loaded"}},
    }


async def test_metrics(served, hello):
    await served.ask("POST", "/v1/messages", hello)
    await served.ask("GET", "/v1/nothing")
    response = await served.ask("GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.body.decode().splitlines()
    assert 'renga_http_requests_total{route="/v1/messages",status="200"} 1.0' in lines
    assert 'renga_http_requests_total{route="other",status="404"} 1.0' in lines
    assert "renga_http_requests_in_flight 1.0" in lines


async def test_telemetry_of_clients_is_taken_and_dropped(served):
    response = await served.ask("POST", "/api/event_logging/batch", {"events": [{"any": "thing"}]})
    assert (response.status, response.body) == (200, b"{}")
