"""Examples that end by themselves, as a user starts them."""

import json
import math
import os
import re
import subprocess
import sys

import pytest

from helpers import archive, gone, name, run

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "examples")


@pytest.mark.long
def test_processing(tmp_path):
    r = subprocess.run([sys.executable, os.path.join(EXAMPLES, "processing", "run.py"), str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert r.returncode == 0, r.stdout + r.stderr
    said = dict(line.split(": ", 1) for line in r.stdout.splitlines() if line.startswith(("processing job: ", "plot: ", "model: ")))
    assert said["processing job"].endswith("342 of 344 penguins kept")
    assert json.loads((tmp_path / "report.json").read_text())["to train with"] == 256
    with open(said["plot"], "rb") as f:
        assert f.read(8) == b"\x89PNG\r\n\x1a\n"
    assert "test:accuracy=1.0000" in r.stdout
    assert list(archive(said["model"])) == ["model.joblib"]


@pytest.mark.long
def test_transform(tmp_path):
    r = subprocess.run([sys.executable, os.path.join(EXAMPLES, "transform", "run.py"), str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert r.returncode == 0, r.stdout + r.stderr
    said = dict(line.split(": ", 1) for line in r.stdout.splitlines() if line.startswith(("transform job: ", "scored: ", "error: ", "plot: ")))
    error, guess = map(float, re.findall(r"[0-9]+\.[0-9]", said["error"]))
    assert 5 < error < guess - 2, said
    outs = sorted(tmp_path.glob("*.csv.out"))
    assert said["scored"] == f"{sum(len(out.read_text().splitlines()) for out in outs)} flights of 9 days"
    for out in outs:  # every row of the day, as it was, and a number more
        day = (tmp_path / out.stem).read_text().splitlines()
        scored = [line.rpartition(",") for line in out.read_text().splitlines()]
        assert [row for row, _, _ in scored] == day and all(math.isfinite(float(x)) for _, _, x in scored), out
    with open(said["plot"], "rb") as f:
        assert f.read(8) == b"\x89PNG\r\n\x1a\n"


def test_endpoint(sm):
    r = subprocess.run([sys.executable, os.path.join(EXAMPLES, "endpoint", "run.py")], capture_output=True, text=True, timeout=600)
    assert r.returncode == 0, r.stdout + r.stderr
    said = dict(line.split(": ", 1) for line in r.stdout.splitlines() if line.startswith(("model: ", "endpoint: ", "a wine: ", "right: ")))
    assert list(archive(said["model"])) == ["model.joblib"]
    assert "'probability': " in said["a wine"]
    right, _, of = said["right"].removesuffix(" wines that it has not seen").partition(" of ")
    assert (int(right) >= 43, of) == (True, "45"), said
    gone(said["endpoint"])
    assert sm.list_endpoint_configs(NameContains=said["endpoint"])["EndpointConfigs"] == []


def test_spend(sm):
    """The notebook's cells, in order, as Jupyter runs them."""
    key, job = name("team"), name("plotted")
    run(job, "true", Tags=[{"Key": key, "Value": "red"}])
    with open(os.path.join(EXAMPLES, "spend", "spend.ipynb")) as f:
        cells = ["".join(c["source"]) for c in json.load(f)["cells"] if c["cell_type"] == "code"]
    script = "\n".join([
        "import matplotlib; matplotlib.use('agg')", "import matplotlib.pyplot as plt",
        "plt.show = lambda: (print('plot:', plt.gca().get_title(), len(plt.gca().patches) + len(plt.gca().lines)), plt.close('all'))",
        *cells, f"tags = spend(GroupBy=[{{'Type': 'TAG', 'Key': {key!r}}}])", f"print('red:', tags[{key + '$red'!r}].sum())"])
    r = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stdout + r.stderr
    plots = [line for line in r.stdout.splitlines() if line.startswith("plot: ")]
    assert [p.partition(": ")[2].split()[0] for p in plots] == ["Spend"] * 4, r.stdout
    said = dict(line.split(": ", 1) for line in r.stdout.splitlines() if line.startswith(("spent: ", "forecast: ", "red: ")))
    assert float(said["red"]) > 0 and float(said["spent"].split()[0][1:]) >= float(said["red"]), said
    assert float(said["forecast"].split()[0][1:]) > 0 and "usage type: USE1-Train:ml.m5.large" in r.stdout, r.stdout
