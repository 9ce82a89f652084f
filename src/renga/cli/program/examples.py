"""One example a command, as `--help` and docs/reference/cli.md show it under the options.

Must never know: what commands do. A test holds every example against the command that it is of.
"""

from __future__ import annotations

EXAMPLES: dict[str, str] = {
    "serve": "--model ~/models/qwen3-0.6b-q8_0.gguf --port 8090",
    "ask": '--system "Answer in one word." "Is water wet?"',
    "models": "--url http://127.0.0.1:8080",
    "requests": "--failed --key web",
    "audit": "--since 2026-11-01 --subject key_4Xb0",
    "doctor": "--online",
    "get": "/v1/models/haiku",
    "eval": "haiku --cases 50 --suite banking77",
    "batch run": "reviews.jsonl -o answers.jsonl",
    "batch list": "--url http://127.0.0.1:8080",
    "batch get": "msgbatch_01H2v8",
    "batch cancel": "msgbatch_01H2v8",
    "batch results": "msgbatch_01H2v8 > results.jsonl",
    "usage": "--by workspace,tier --since 2026-11-01",
    "usage export": "--format parquet -o usage.parquet --since 2026-11-01",
    "keys create": "web --tier haiku --expires 90d",
    "keys list": "--json",
    "keys get": "web",
    "keys limit": "web requests_per_minute=60 budget_usd_per_day=none",
    "keys update": "web --tier haiku --tier sonnet",
    "keys rotate": "web --overlap 24h",
    "keys disable": "web",
    "keys enable": "web",
    "keys revoke": "web",
    "workspaces create": "research --limit budget_usd_per_month=500",
    "workspaces list": "--json",
    "workspaces limit": "research requests_per_minute=600",
    "workspaces archive": "research",
    "route report": "--days 30 --url http://127.0.0.1:8080",
    "route outcomes": "--policy auto > outcomes.jsonl",
    "route explain": '"Why is the sky blue?"',
    "route curves": "--data outcomes.jsonl --target local/hokku -o curves.json",
    "route head": "--data outcomes.jsonl -o head.json",
    "route calibrate": "--data outcomes.jsonl --ranking agreement --floor 2 -o certificate.json",
    "route check": "certificate.json",
}
