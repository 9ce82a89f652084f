"""The benchmark's report as Markdown: the bars first, then every table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Report = dict[str, Any]
TWO = "two seconds, the next where the first disagrees"


def render(report: Report) -> str:
    """The whole report."""
    parts = [
        "# Routing benchmark\n",
        f"{report['effort']['bootstraps']} bootstraps, {report['effort']['resamples']} resamples; tokens by "
        f"{report['tokens']}; {report['wall_s']:.0f} s. Intervals are 95 % bootstrap intervals over prompts; for few "
        "labels they are the range over draws of the labels.\n",
        "## Bars\n",
        _table(("measure", "bar", "measured", "met"), _bars(report)),
        *(_prompt_only(part) for part in report["prompt_only"]),
        *(_verify(part) for part in report["verify"]),
        _dollars(report["dollars"]),
        _floor(report["floor"]),
        _stream(report["stream"]),
    ]
    return "\n".join(parts)


def _bars(report: Report) -> Iterable[tuple[str, ...]]:
    prior, own = "shipped prior: length + rarity, no labels", "own head, 5-fold cross-fitted"
    for part, bar in zip(report["prompt_only"], (0.60, 0.61), strict=True):
        for router in (prior, own):
            value = part["routers"][router]["apgr"]
            yield (
                f"{part['set']}, prompt only, {router}",
                f"APGR >= {bar:.2f}",
                _interval(value),
                _met(value["value"] >= bar),
            )
    gsm8k, zeroeval = report["verify"]
    for name, router in ((f"agreement with {gsm8k['chosen']}", gsm8k["chosen"]), (TWO, TWO)):
        found = gsm8k["routers"][router]
        yield (
            f"RouteLLM GSM8K, {name}",
            "APGR >= 0.90, CPT80 <= 28 %",
            f"{_interval(found['apgr'])}, {found['cpt80']['value']:.1%}",
            _met(found["apgr"]["value"] >= 0.90 and found["cpt80"]["value"] <= 0.28),
        )
    for name, router in ((f"agreement with {zeroeval['chosen']}", zeroeval["chosen"]), (TWO, TWO)):
        calls = zeroeval["routers"][router]["calls_at_99"]
        yield f"ZeroEval, 99 % of opus, {name}", "<= 16 % opus calls", f"{calls:.1%} of calls", _met(calls <= 0.16)
    for row in report["dollars"]:
        if row["name"].startswith("one second"):
            continue
        yield (
            f"the same in dollars, {row['name'].removeprefix(f'{TWO}, ')}",
            "<= 16 % of all-opus spend",
            f"{row['spent_share']:.1%}; {row['top_share'] + row['first_share']:.1%} where seconds are free",
            _met(row["spent_share"] <= 0.16),
        )
    broken = max(row["broken"] for row in report["floor"] if row["method"] == "exact")
    yield (
        "the floor: broken, worst of 12 cases",
        "<= 10 %",
        f"{broken:.1%} of {report['effort']['resamples']}",
        _met(broken <= 0.10),
    )
    stream = report["stream"][0]
    yield (
        "mixed stream",
        ">= 60 % saved at >= 98 % quality",
        f"{stream['saved']:.1%} saved at {stream['quality']:.2%} (mean of {stream['splits']} splits)",
        _met(stream["saved"] >= 0.6 and stream["quality"] >= 0.98),
    )
    time = report["decision"]
    yield (
        "decision at 500 tokens",
        "p50 <= 0.2 ms, p99 < 1 ms",
        f"p50 {time['core_p50_us'] / 1e3:.3f} ms, p99 {time['core_p99_us'] / 1e3:.3f} ms of one core "
        f"(by the wall {time['wall_p50_us'] / 1e3:.3f} and {time['wall_p99_us'] / 1e3:.3f})",
        _met(time["core_p50_us"] <= 200 and time["core_p99_us"] < 1000),
    )


def _prompt_only(part: Report) -> str:
    rows = [
        (name, _interval(row["apgr"]), _percent(row["cpt50"]), _percent(row["cpt80"]))
        for name, row in part["routers"].items()
    ]
    title = f"## {part['set']}, prompt only ({part['prompts']:,} prompts, {part['small']} -> {part['top']})\n"
    return title + "\n" + _table(("router", "APGR", "CPT50", "CPT80"), rows)


def _verify(part: Report) -> str:
    rows = [
        (
            name + (" (chosen without labels)" if name == part["chosen"] else ""),
            "" if row["agrees"] is None else f"{row['agrees']:.1%}",
            _interval(row["apgr"]),
            _percent(row["cpt50"]),
            _percent(row["cpt80"]),
            f"{row['calls_at_99']:.1%}",
        )
        for name, row in part["routers"].items()
    ]
    title = (
        f"## {part['set']}, verify by agreement ({part['prompts']:,} prompts, small {part['small_score']:.3f}, "
        f"top {part['top_score']:.3f})\n"
    )
    return title + "\n" + _table(("second answer by", "agrees", "APGR", "CPT50", "CPT80", "calls for 99 %"), rows)


def _dollars(rows: list[Report]) -> str:
    cells = [
        (
            row["name"],
            *(f"{row[key]:.1%}" for key in ("calls", "top_share", "first_share", "second_share", "spent_share")),
        )
        for row in rows
    ]
    head = ("evidence", "opus calls", "escalated", "first answers", "second answers", "of all-opus spend")
    return f"## {rows[0]['set']}, 99 % of opus in dollars\n\n" + _table(head, cells)


def _floor(rows: list[Report]) -> str:
    cells = [
        (
            row["pair"],
            f"{row['floor_points']:g}",
            f"{row['labels']:,}",
            row["method"],
            f"{row['broken']:.1%}",
            f"{row['refused']:.0%}",
            f"{row['kept']:.1%} of {row['hindsight_kept']:.1%}",
            f"{row['saved']:.1%} of {row['hindsight_saved']:.1%}",
        )
        for row in rows
    ]
    head = (
        "pair",
        "floor",
        "labels",
        "test",
        "broken",
        "nothing proven",
        "kept of hindsight's",
        "saved of hindsight's",
    )
    return "## The floor: 90 % confidence\n\n" + _table(head, cells)


def _stream(rows: list[Report]) -> str:
    cells = [
        (
            f"{row['reasoned_scale'] * 180:.0f}",
            f"{row['requests']:,} x {row['splits']}",
            f"{row['saved']:.1%} (least {row['saved_min']:.1%})",
            f"{row['quality']:.2%} (least {row['quality_min']:.2%})",
            f"{row['below_98']:.0%}",
            f"{row['kept']:.1%}",
            f"{row['hindsight_saved']:.1%}",
            f"{row['saved_by_length']:.1%}",
        )
        for row in rows
    ]
    head = (
        "MMLU-Pro answer tokens",
        "requests x splits",
        "saved",
        "quality of top",
        "splits below 98 %",
        "kept",
        "saved in hindsight",
        "by length, in hindsight",
    )
    sets = [
        (name, f"{rows[0]['spend_by_set'][name]:.1%}", f"{rows[0]['kept_by_set'][name]:.1%}")
        for name in rows[0]["kept_by_set"]
    ]
    return "## Mixed stream\n\n" + _table(head, cells) + "\n" + _table(("set", "share of all-top spend", "kept"), sets)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _interval(value: Report) -> str:
    return f"{value['value']:.3f} ({value['low']:.3f}-{value['high']:.3f})"


def _percent(value: Report) -> str:
    return f"{value['value']:.1%}"


def _met(met: bool) -> str:
    return "yes" if met else "**no**"
