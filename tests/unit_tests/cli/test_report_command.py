"""`bestroute report`: the page, its structure, and how a real browser lays it out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from base64 import b64decode
from collections import Counter
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import bestroute
from bestroute import BestRoute, ModelPool
from bestroute.cli.app import app
from bestroute.learning.evaluation.assess import Assessment
from bestroute.learning.evaluation.page import report_page
from bestroute.learning.evaluation.report import dollars
from bestroute.learning.fit import train
from bestroute.learning.samples import read_samples
from bestroute.ledger import Ledger, LedgerSummary, summarise
from bestroute.policy import EarlyStop
from tests.servers import ChatServer

DATA = Path(bestroute.__file__).parent / "data"
POOL = ModelPool.from_yaml(DATA / "demo_pool.yaml")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Assessment]:
    """The page of a router that looks at its samples, on a fifth of the shipped ones."""
    folder = tmp_path_factory.mktemp("report")
    table = read_samples(DATA / "demo_samples.parquet", scored=True)
    rows = [row for row in table.to_pylist() if row["query_id"][-1] in "16"]
    few = type(table).from_pylist(rows, schema=table.schema)
    pq.write_table(few, folder / "samples.parquet")
    engine, _ = train(few, POOL)
    engine.policy = EarlyStop(0.7)
    engine.save_pretrained(folder / "router")
    files = [str(folder / "samples.parquet"), "--router", str(folder / "router")]
    out = ["-o", str(folder / "page" / "report.html"), "--json", str(folder / "out.json")]
    done = CliRunner().invoke(app, ["report", *files, *out, "--resamples", "50", "--examples", "4"])
    assert done.exit_code == 0, (done.output, done.exception)
    found = Assessment.model_validate_json((folder / "out.json").read_text())
    return (folder / "page" / "report.html").read_text(encoding="utf-8"), found


class Reading(HTMLParser):
    """Every element, and whether all of them are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.text = ""
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_it_is_one_file_that_asks_for_nothing(written: tuple[str, Assessment]) -> None:
    page = written[0]
    assert "http" not in page and "@import" not in page
    read = Reading(page)
    assert not {"script", "link", "iframe", "img"} & {tag for tag, _ in read.elements}
    assert not any(
        {"src", "onload", "srcset"} & attributes.keys() for _, attributes in read.elements
    )
    assert all(each.startswith("#") for each in re.findall(r"url\(([^)]*)\)", page))


def test_it_can_be_read_without_seeing_it(written: tuple[str, Assessment]) -> None:
    read = Reading(written[0])
    tags = [tag for tag, _ in read.elements]
    assert tags.count("h1") == 1 and tags.count("main") == 1
    assert read.all("html")[0]["lang"] == "en"
    headings = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert all(then <= now + 1 for now, then in zip(headings, headings[1:], strict=False))
    assert len(read.all("svg")) == 2
    for svg in read.all("svg"):
        assert svg["role"] == "img" and len(svg["aria-label"] or "") > 40
    names = Counter(attributes["id"] for _, attributes in read.elements if "id" in attributes)
    assert set(names.values()) == {1}
    for scrolled in (a for _, a in read.elements if a.get("class") == "wide"):
        assert scrolled["tabindex"] == "0" and scrolled["aria-label"]  # with the keyboard too


def test_what_it_shows_is_what_was_found(written: tuple[str, Assessment]) -> None:
    page, found = written
    text = " ".join(Reading(page).text.split())
    curve = page[page.index("<svg") : page.index("</svg>")]
    for method in found.comparison.methods:
        assert method.name in curve
        drop = method.drops[2]
        if drop is not None:
            assert f"{drop.value:.1%}" in text
    for arm, share in found.evaluation.arm_shares.items():
        assert re.search(rf"{re.escape(arm)}\s*{share:.1%}", text)
    assert found.paths is not None and len(found.paths.examples) > 1
    for fork in found.paths.forks[1:]:
        assert f"After wave {fork.waves}: {fork.reached:.0%} of the requests" in text
    for told in (*found.paths.examples, *found.regrets.worst):
        assert " ".join(told.query.split())[:60] in text
    assert len(found.regrets.worst) == 4
    for task, each in found.regrets.tasks.items():
        assert f"{task}{each.queries}{each.regret:.3f}" in text.replace(" ", "")


def test_no_query_is_told_unless_it_is_asked_for(written: tuple[str, Assessment]) -> None:
    found = written[1]
    assert found.paths is not None
    shared = found.model_copy(
        update={
            "regrets": found.regrets.model_copy(update={"worst": ()}),
            "paths": found.paths.model_copy(update={"examples": ()}),
        }
    )
    page = report_page(shared, POOL)
    queries = read_samples(DATA / "demo_samples.parquet")["query"].to_pylist()
    assert not any(query in page for query in set(queries))
    assert "After wave 1" in page  # what is no text stays


def test_what_users_asked_cannot_become_part_of_the_page(written: tuple[str, Assessment]) -> None:
    found = written[1]
    evil = "</blockquote><script>alert(1)</script>"
    worst = found.regrets.worst[0].model_copy(update={"query": evil, "task": "<i>task</i>"})
    regrets = found.regrets.model_copy(update={"worst": (worst,)})
    page = report_page(found.model_copy(update={"regrets": regrets}), POOL)
    assert "script" not in {tag for tag, _ in Reading(page).elements}
    assert "&lt;script&gt;" in page


def test_savings_are_those_of_the_ledger(
    written: tuple[str, Assessment], tmp_path: Path, chat_server: ChatServer
) -> None:
    assert "What it saved so far" not in written[0]
    dear, cheap = ({"price": {"input": p, "output": p}} for p in (10, 1))
    asked = {"params": chat_server.params, "context_window": 8000, "native_n": True}
    small = {"model": "openai/small", "max_samples": 3, **cheap, **asked}
    big = {"model": "openai/big", "reference": True, **dear, **asked}
    chat_server.reply = "42"
    ledger = Ledger(tmp_path / "calls.sqlite")
    engine = BestRoute({"models": [small, big]}, ledger=ledger)
    responses = [engine.complete("What is six times seven?") for _ in range(3)]
    ledger.flush()
    kept = summarise(tmp_path / "calls.sqlite")
    page = report_page(written[1], POOL, savings=kept)
    text = " ".join(Reading(page).text.split())
    saved = sum(response.estimated_savings or 0 for response in responses)
    spent = sum(response.cost or 0 for response in responses)
    assert f"{saved / (saved + spent):.0%} less spent than by always asking the reference" in text
    assert f"{dollars(spent)} spent, the reference would have cost" in text
    assert "3 routed calls: 3 answered, 0 failed, 0 cancelled" in text
    assert f"3 calls{dollars(spent)}, saved {dollars(saved)}" in text


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme: str, written: tuple[str, Assessment]) -> None:
    """WCAG 2: 4.5 for text, 3 for what a figure is made of."""
    style = written[0][: written[0].index("</style>")]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))
    for ground in ("page", "card"):
        for text in ("ink", "muted"):
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for role in ("main", "second", *(name for name in colors if name.startswith("way-"))):
        assert contrast(colors[role], colors["page"]) >= 3, role
    assert contrast(colors["ink"], colors["main-soft"]) >= 4.5
    for line in set(re.findall(r"stroke: (#[0-9a-f]{6})", written[0])):  # baselines, in both
        assert contrast(line, colors["page"]) >= 3, line


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
MEASURE = """<script>
const box = e => e.getBoundingClientRect();
const far = [...document.querySelectorAll("body *")]
  .filter(e => !e.closest(".wide") && !e.closest("svg *"))
  .filter(e => box(e).right > innerWidth + 1 || box(e).left < -1);
const labels = [...document.querySelectorAll("svg text")].map(e => {
  const own = box(e), whole = box(e.closest("svg"));
  const out = own.right > whole.right + 1 || own.left < whole.left - 1;
  return {text: e.textContent, size: own.height, out: out};
});
const found = {width: innerWidth, scroll: document.documentElement.scrollWidth,
  far: far.map(e => e.tagName + " " + e.className), labels: labels};
parent.document.body.textContent = btoa(encodeURIComponent(JSON.stringify(found)));
</script></body>"""
"""What lies outside the width, and how the figures' texts fit in."""


def browse(page: str, folder: Path, width: int, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a browser that reaches nobody."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command += ["--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1000", *flags]
    return subprocess.run(
        [*command, (folder / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def _much() -> LedgerSummary:
    """Forty days of sums with several digits: no narrower in a real ledger."""
    days = [
        {"day": f"2026-11-{day:02}", "calls": 1234, "cost": 12.345, "savings": 10.5 - day}
        for day in range(1, 41)
    ]
    tokens = {"prompt_tokens": 10**9, "completion_tokens": 10**9, "cached_tokens": 0}
    model = {"model": "a-model/of-a-long-name", "answers": 10**5, "calls": 10**5, "cost": 12345.6}
    numbers = {"calls": 10**6, "ok": 10**6, "cost": 12345.67, "reference_cost": 23456.78}
    return LedgerSummary.model_validate(
        {
            **dict.fromkeys(("errors", "cancelled", "degraded", "unanswered_cost", "unpriced"), 12),
            **{**numbers, **tokens, "since": None, "savings": 11111.11, "savings_share": 0.47},
            **{"first": "2026-11-01T00:00Z", "last": "2026-12-10T00:00Z"},
            **{"latency_p50": 1.0, "latency_p95": 12.0, "days": days, "arms": ()},
            "models": [{**model, **tokens}],
        }
    )


@needs_chromium
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_lays_it_out(width: int, written: tuple[str, Assessment], tmp_path: Path) -> None:
    page = report_page(written[1], POOL, savings=_much())
    inner = escape(page.replace("</body>", MEASURE))
    frame = f'<iframe style="width: {width}px; border: 0" srcdoc="{inner}"></iframe>'
    done = browse(f"<!doctype html><body>{frame}</body>", tmp_path, 1400, "--dump-dom")
    told = re.search(r"<body>([\w+/=]+)</body>", done.stdout)
    assert told, done.stdout[-500:]
    found: dict[str, Any] = json.loads(unquote(b64decode(told[1]).decode()))
    assert found["width"] == width
    assert found["scroll"] <= width  # nothing to scroll sideways but tables in their frames
    assert found["far"] == []
    assert found["labels"]
    for label in found["labels"]:
        assert not label["out"], label
        assert label["size"] >= 8, label


@needs_chromium
@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)])
def test_a_browser_paints_it(
    scheme: int, dark: bool, written: tuple[str, Assessment], tmp_path: Path
) -> None:
    from matplotlib.image import imread

    shot = tmp_path / "shot.png"
    flags = (f"--screenshot={shot}", f"--blink-settings=preferredColorScheme={scheme}")
    browse(written[0], tmp_path, 800, *flags)
    pixels = imread(shot)[:, :, :3]
    assert (pixels.mean() < 0.3) if dark else (pixels.mean() > 0.8)
    assert pixels.std() > 0.05  # something is on it
