"""A notebook instance over the death of the server, of JupyterLab and of the
process that watches over it: its file stays, and it is back in service.

It says "kill: WHEN" or "die: WHAT" and goes on when that was done.
"""

import json
import os
import subprocess
import sys
import time

import boto3
from botocore.config import Config

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from helpers import ROLE, Lab, name  # noqa: E402

sm = boto3.client("sagemaker", config=Config(retries={"mode": "standard", "total_max_attempts": 12}))
nb = name("nb")


def say(what):
    print(what, flush=True)


def status():
    d = sm.describe_notebook_instance(NotebookInstanceName=nb)
    assert d["NotebookInstanceStatus"] != "Failed", d
    return d["NotebookInstanceStatus"]


def until(reached, what, within=400):
    deadline = time.monotonic() + within
    while not reached():
        assert time.monotonic() < deadline, f"{nb}: waited in vain for {what}"
        time.sleep(0.2)


def lab():
    return Lab(sm.create_presigned_notebook_instance_url(NotebookInstanceName=nb)["AuthorizedUrl"])


def told(text):
    """Whether the instance's log tells of it."""
    events = boto3.client("logs").get_log_events(logGroupName="/aws/sagemaker/NotebookInstances", logStreamName=nb + "/jupyter.log", limit=1000)["events"]
    return any(e["message"].startswith("[clary] ") and text in e["message"] for e in events)


def back():
    """Whether it is in service again and has its file."""
    if status() != "InService":
        return False
    try:
        return lab().get("mine.txt") == "kept"
    except AssertionError:
        return False  # being started again


sm.create_notebook_instance(NotebookInstanceName=nb, InstanceType="ml.t3.medium", RoleArn=ROLE)
say("kill: pending")
until(lambda: status() == "InService", "its first start")
served = time.monotonic()
lab().put("mine.txt", "kept")

say("kill: in service")
assert status() == "InService"
until(back, "the file after the server's death", 60)

say("die: jupyter")
until(lambda: told("JupyterLab ended with exit code 137"), "the end of JupyterLab", 60)
until(back, "JupyterLab's second start", 120)

say("die: supervisor")
until(lambda: told("The process that watched over JupyterLab is gone"), "the loss of the task", 60)
until(back, "the file after the loss", 120)

sm.stop_notebook_instance(NotebookInstanceName=nb)
longest = time.monotonic() - served
say("kill: stopping")
until(lambda: status() == "Stopped", "the stop", 120)

out = subprocess.run([sys.argv[1], "cost", nb, "--json", "--data", sys.argv[2]], capture_output=True, text=True, check=True).stdout
used = {r["Component"]: r for r in json.loads(out)["Resources"]}
assert 0 < used["notebook"]["Seconds"] <= longest + 2, (used, longest)
assert used["notebook-volume"]["Seconds"] >= used["notebook"]["Seconds"], used

sm.start_notebook_instance(NotebookInstanceName=nb)
until(lambda: status() == "InService", "another start", 120)
assert lab().get("mine.txt") == "kept"
sm.stop_notebook_instance(NotebookInstanceName=nb)
until(lambda: status() == "Stopped", "the second stop", 120)
sm.delete_notebook_instance(NotebookInstanceName=nb)
until(lambda: nb not in [n["NotebookInstanceName"] for n in sm.list_notebook_instances(NameContains=nb)["NotebookInstances"]], "its deletion", 120)
print("all as it should be")
