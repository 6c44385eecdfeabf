"""Looks at a notebook instance from a program that a lifecycle script has left
in the background, and says what it finds, one "ok" line for each."""
import json
import subprocess
import sys
import time

import boto3  # noqa: F401
import requests
import urllib3

urllib3.disable_warnings()
URL = "https://localhost:8443"


def get(path, **more):
    return requests.get(URL + path, verify=False, timeout=10, **more)


def started(after=""):
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            s = get("/api/status")
            if s.status_code == 200 and s.json()["started"] != after:
                return s.json()["started"]
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    sys.exit("JupyterLab does not answer")


first = started()
assert get("/api/sessions").json() == [] and get("/api/terminals").json() == []
print("ok sessions")
assert "rss" in get("/api/metrics/v1").json()
print("ok server extension")
page = get("/lab").text
config = json.loads(page.split('id="jupyter-config-data"')[1].split(">", 1)[1].split("</script>")[0])
names = {e["name"] for e in config["federated_extensions"]}
assert {"@jupyterlab/git", "@jupyter-server/resource-usage"} <= names, names
print("ok extensions of the runtime and of the layer")
assert get("/lab/api/settings/@jupyterlab/docmanager-extension:plugin").json()["settings"] is not None
subprocess.run(["systemctl", "restart", "jupyter-server"], check=True)
assert started(first) != first and "rss" in get("/api/metrics/v1").json()
print("ok restart")
with open("/var/log/jupyter.log") as log:
    assert log.read().count("is running at") == 2
print("ok log", flush=True)
