"""The ledger of finished runs: what is collected, the Markdown, and the page in a browser."""

import html.parser
import json
import os
import re
import shutil
import subprocess

import pytest
from PIL import Image

from launch import ledger, report
from lib.experiment import UserError, configs

_BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def _claim(name, verdict, measured=1.0, control=False, **changes):
  return {
    "id": name,
    "source": "Table 1",
    "control": control,
    "statement": f"Statement of {name} | with <angles> & a bar.",
    "expected": "below 2",
    "quantity": "error",
    "measured": measured,
    "uncertainty": 0.1,
    "interval": None if measured is None else [measured - 0.1, measured + 0.1],
    "seeds": 12,
    "verdict": verdict,
    "why": "because",
  } | changes


def _run(folder, project="ntk", preset="default", claims=(), wall_s=90.0, **more):
  (folder / "figures").mkdir(parents=True)
  Image.new("RGBA", (40, 30), (200, 30, 30, 255)).save(folder / "figures" / "fig1_red.png")
  results = {
    "project": project,
    "preset": preset,
    "config": {},
    "versions": {"python": "3.11", "jax": "0.10", "commit": "abc", "flax": "0.12"},
    "backend": "cpu",
    "devices": ["cpu 0", "cpu 1"],
    "wall_s": wall_s,
    "compile_s": 12.0,
    "metrics": {},
    "claims": list(claims),
  } | more
  (folder / "results.json").write_text(json.dumps(results))
  return folder


@pytest.fixture
def runs(tmp_path):
  """Two projects, four claims of three verdicts."""
  _run(
    tmp_path / "runs" / "ntk",
    claims=[
      _claim("alpha", "reproduced", 10.0),
      _claim("beta", "partly", -2.0),
      _claim("gamma", "not_tested", None),
    ],
  )
  control = _claim("delta", "not_reproduced", 3.0, control=True)
  _run(tmp_path / "runs" / "capacity", "capacity", claims=[control], wall_s=7300.0)
  return tmp_path / "runs"


def test_markdown_counts_every_verdict(runs, tmp_path, capsys):
  out = tmp_path / "docs" / "LEDGER.md"
  assert report.main([str(runs), f"--out={out}"]) == 0
  assert "4 claims of 2 run(s)" in capsys.readouterr().out
  text = out.read_text()
  assert "| [capacity](#capacity-default) | default | 1 | 0 | 0 | 1 | 0 | 2.0 h |" in text
  assert "| [ntk](#ntk-default) | default | 3 | 1 | 1 | 0 | 1 | 90.0 s |" in text
  assert "error 10 [9.9, 10.1]" in text and "\\| with" in text and "*(control)*" in text
  tables = [line for line in text.splitlines() if line.startswith("| **")]
  assert len(tables) == 4
  # seven cells each: the bar in the statement is no cell
  assert {len(re.split(r"(?<!\\)\|", line)) for line in tables} == {9}


def test_a_project_without_a_run_is_named(runs):
  text = ledger.markdown(ledger.collect([runs / "ntk"]))
  assert re.search(r"Not run: .*\bcapacity\b", text)


def test_the_newest_of_several_runs_counts(runs):
  newer = _run(runs / "again", claims=[_claim("alpha", "not_reproduced")])
  os.utime(newer / "results.json", (2e9, 2e9))
  found = {run.project: run for run in ledger.collect([runs])}
  assert found["ntk"].directory == newer and found["ntk"].count("not_reproduced") == 1
  assert len(ledger.collect([runs / "ntk", newer])) == 1


def test_a_sweep_has_no_claims_and_does_not_count(runs, tmp_path):
  newer = _run(runs / "sweep", sweep={"seed": [0, 1]})
  os.utime(newer / "results.json", (2e9, 2e9))
  found = {run.project: run for run in ledger.collect([runs])}
  assert found["ntk"].directory == runs / "ntk"
  with pytest.raises(UserError, match="sweeps"):
    ledger.collect([newer])


def test_a_run_with_other_settings_counts_only_alone_and_says_so(runs):
  config = configs.as_json(configs.load("configs/ntk.py"))
  same = _run(runs / "same", claims=[_claim("alpha", "partly")], config=config)
  os.utime(same / "results.json", (2e9, 2e9))
  config["flow"]["seeds"] += 1
  other = _run(runs / "other", claims=[_claim("alpha", "partly")], config=config)
  os.utime(other / "results.json", (3e9, 3e9))
  found = {run.project: run for run in ledger.collect([runs])}
  assert found["ntk"].directory == same and not found["ntk"].changes
  assert "Not the preset's own" not in ledger.markdown([found["ntk"]])
  (alone,) = ledger.collect([other])
  said = f"Not the preset's own settings: flow.seeds = {config['flow']['seeds']}."
  assert said in ledger.markdown([alone])
  assert said.replace("'", "&#x27;") in ledger.page([alone])


@pytest.mark.parametrize(
  ("make", "says"),
  [
    (lambda f: f / "missing", "is not a folder"),
    (lambda f: f, "no finished run"),
    (lambda f: _broken(f, "{"), "is not the results of a run"),
    (lambda f: _broken(f, '{"claims": [{"verdict": "splendid"}]}'), "unknown verdict"),
    (lambda f: _broken(f, '{"claims": []}'), "is not the results of a run"),
  ],
)
def test_bad_runs_end_in_one_sentence(tmp_path, capsys, make, says):
  folder = tmp_path / "runs"
  folder.mkdir()
  assert report.main([str(make(folder)), f"--out={tmp_path / 'x.md'}"]) == 2
  message = capsys.readouterr().err
  assert says in message and message.count("\n") == 1
  assert not (tmp_path / "x.md").exists()


def _broken(folder, text):
  (folder / "results.json").write_text(text)
  return folder


def test_a_place_that_cannot_be_written(runs, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  assert report.main([str(runs), f"--out={tmp_path / 'file' / 'x.md'}"]) == 2
  assert "Cannot write" in capsys.readouterr().err


class _Links(html.parser.HTMLParser):
  """Addresses the page would load, and the rows of its table."""

  def __init__(self):
    super().__init__()
    self.sources, self.links, self.ids, self.rows = [], [], [], []

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    self.sources += [attrs[k] for k in ("src",) if k in attrs]
    self.links += [attrs["href"]] if "href" in attrs else []
    self.ids += [attrs["id"]] if "id" in attrs else []
    self.rows += [attrs] if tag == "tr" and "data-verdict" in attrs else []


def test_the_page_needs_no_other_file(runs):
  page = ledger.page(ledger.collect([runs]))
  found = _Links()
  found.feed(page)
  assert len(found.sources) == 2
  assert all(source.startswith("data:image/webp;base64,") for source in found.sources)
  assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
  assert [row["data-verdict"] for row in found.rows].count("partly") == 1
  assert "<angles>" not in page and "&lt;angles&gt;" in page


_CLICKS = """<script>
const name = r => r.cells[1].querySelector("b").textContent;
const shown = () => rows.filter(r => !r.hidden).map(name);
const order = () => [...body.rows].map(name);
const head = label => [...document.querySelectorAll("#claims th button")]
  .find(b => b.textContent === label);
const say = (id, text) => { const e = document.getElementById(id); e.value = text;
  e.dispatchEvent(new Event("input")); };
const log = {};
head("measured").click(); log.up = order();
head("measured").click(); log.down = order();
head("claim").click(); log.names = order();
head("cost").click(); log.cost = order();
say("text", "statement BETA"); log.text = shown(); say("text", "");
say("project", "capacity"); log.project = shown(); say("project", "");
say("control", "0"); log.claims = shown().sort(); say("control", "");
document.querySelector("button[data-verdict=reproduced]").click();
log.verdict = shown().sort(); log.count = document.getElementById("shown").textContent;
log.images = [...document.images].map(i => i.naturalWidth);
log.loading = [...document.images].every(i => i.src.startsWith("data:"));
document.body.textContent = "LOG" + JSON.stringify(log) + "END";
</script></html>"""


@pytest.mark.skipif(_BROWSER is None, reason="needs Chromium")
def test_sorting_and_filtering_in_a_browser(runs, tmp_path):
  page = ledger.page(ledger.collect([runs])).replace("</html>", _CLICKS)
  (tmp_path / "page.html").write_text(page)
  quiet = ["gpu", "quic", "background-networking", "component-update", "sync"]
  command = [_BROWSER, "--headless", "--no-sandbox", "--no-first-run", "--dump-dom"]
  command += [f"--disable-{name}" for name in quiet]
  command += [f"--user-data-dir={tmp_path / 'profile'}", f"file://{tmp_path / 'page.html'}"]
  done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
  log = json.loads(html.unescape(re.search("LOG(.*)END", done.stdout).group(1)))
  assert log["up"] == ["beta", "delta", "alpha", "gamma"]  # -2, 3, 10, not measured
  assert log["down"] == ["alpha", "delta", "beta", "gamma"]
  assert log["names"] == ["alpha", "beta", "delta", "gamma"]
  assert log["cost"][-1] == "delta"
  assert log["text"] == ["beta"]
  assert log["project"] == ["delta"]
  assert log["claims"] == ["alpha", "beta", "gamma"]
  assert log["verdict"] == ["beta", "delta", "gamma"] and log["count"] == "3 of 4"
  assert log["loading"]
