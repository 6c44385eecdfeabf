"""Looks at a notebook instance from inside, as a browser would, and says what
it finds, one "ok" line for each."""
import json
import os
import sys
import time
import uuid

import requests
import websocket

URL = "http://127.0.0.1:8888"
WS = "ws://127.0.0.1:8888"
s = requests.Session()
s.trust_env = False


def ok(what):
    print("ok", what, flush=True)


def wait(url, seconds):
    end = time.monotonic() + seconds
    while True:
        try:
            if s.get(url, timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        if time.monotonic() > end:
            sys.exit(url + " does not answer")
        time.sleep(0.02)


began = time.monotonic()
wait(URL + "/api/status", 60)
print("answers after %d ms" % ((time.monotonic() - began) * 1000))
ok("status")

page = s.get(URL + "/lab")
config = json.loads(page.text.split('id="jupyter-config-data"')[1].split(">", 1)[1].split("</script>")[0])
assert config["news"]["disabled"] is True, config["news"]
assert config["extensionManager"]["name"] == "read-only", config["extensionManager"]
s.headers["X-XSRFToken"] = s.cookies["_xsrf"]
cookies = "; ".join(c.name + "=" + c.value for c in s.cookies)
settings = s.get(URL + "/lab/api/settings/@jupyterlab/apputils-extension:notification").json()
assert settings["schema"]["properties"]["fetchNews"]["default"] == "false", settings
assert s.get(URL + "/api/me").json()["identity"]["username"] == "ec2-user"
ok("lab")

refused = requests.Session()
refused.trust_env = False
r = refused.post(URL + "/api/terminals")
assert r.status_code == 403, r.status_code
ok("requests of other pages are refused")

specs = s.get(URL + "/api/kernelspecs").json()
assert specs["default"] == "conda_python3", specs
assert specs["kernelspecs"]["conda_python3"]["spec"]["display_name"] == "conda_python3"
assert "python3" not in specs["kernelspecs"]
ok("kernels " + " ".join(sorted(specs["kernelspecs"])))


def connect(path):
    return websocket.create_connection(WS + path, origin=URL, cookie=cookies, timeout=300, http_no_proxy=["*"])


class Kernel:
    def __init__(self, name):
        began = time.monotonic()
        r = s.post(URL + "/api/sessions", json={"path": name + ".ipynb", "name": name, "type": "notebook", "kernel": {"name": name}})
        assert r.status_code == 201, r.text
        self.id = r.json()["id"]
        self.ws = connect("/api/kernels/%s/channels?session_id=%s" % (r.json()["kernel"]["id"], uuid.uuid4()))
        self.run("pass")
        print("kernel %s runs after %d ms" % (name, (time.monotonic() - began) * 1000))

    def run(self, code):
        """Executes a cell: its text, and the kinds of its pictures."""
        id = uuid.uuid4().hex
        self.ws.send(json.dumps({
            "header": {"msg_id": id, "msg_type": "execute_request", "username": "", "session": "x", "version": "5.3", "date": ""},
            "parent_header": {}, "metadata": {}, "channel": "shell",
            "content": {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False},
        }))
        text, kinds = "", set()
        while True:
            m = json.loads(self.ws.recv())
            if m["parent_header"].get("msg_id") != id:
                continue
            c, t = m["content"], m["header"]["msg_type"]
            if t == "stream":
                text += c["text"]
            elif t in ("display_data", "execute_result"):
                kinds |= set(c["data"])
                text += c["data"].get("text/plain", "")
            elif t == "error":
                sys.exit("\n".join(c["traceback"]))
            elif t == "status" and c["execution_state"] == "idle":
                return text, kinds

    def end(self):
        self.ws.close()
        r = s.delete(URL + "/api/sessions/" + self.id)
        assert r.status_code == 204, r.status_code


k = Kernel("conda_python3")
text, _ = k.run("import sys, os; print(sys.prefix, os.getcwd())")
home = os.path.expanduser("~")
assert text.split() == [home + "/anaconda3/envs/python3", home + "/SageMaker"], text
ok("a cell")
began = time.monotonic()
text, kinds = k.run("""
import time; t = time.monotonic()
import boto3, sagemaker, pandas, numpy, sklearn, matplotlib
import matplotlib.pyplot as plt
print("imports", round(time.monotonic() - t, 2), sagemaker.__version__)
plt.plot([1, 2, 3]); plt.show()
""")
print("%s, with a plot after %d ms" % (text.strip().split("\n")[0], (time.monotonic() - began) * 1000))
assert "font cache" not in text, text
assert "image/png" in kinds and " 2.257.7" in text, (kinds, text)
ok("a plot")
text, _ = k.run("""
import logging, sagemaker
from sagemaker.user_agent import get_user_agent_extra_suffix
from sagemaker.config import load_sagemaker_config
print(sagemaker.get_execution_role())
print(load_sagemaker_config()["SageMaker"]["PythonSDK"])
""")
assert "arn:aws:iam::123456789012:role/notebook" in text and "TelemetryOptOut" in text, text
ok("the role")
text, _ = k.run("%pip install -q tabulate==0.9.0")
text, _ = k.run("import tabulate; print(tabulate.__file__)")
assert home in text, text
ok("%pip")
text, kinds = k.run("import ipywidgets; ipywidgets.IntSlider()")
assert "application/vnd.jupyter.widget-view+json" in kinds, kinds
ok("widgets")

for name in [n for n in sorted(specs["kernelspecs"]) if n != "conda_python3"][-1:]:
    o = Kernel(name)
    text, _ = o.run("import sys, sklearn, numpy; print(sys.prefix, sklearn.__version__)")
    assert "/envs/" + name.removeprefix("conda_") in text, text
    o.end()
    ok("kernel " + name)

cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": "print(6 * 7)"}
nb = {"cells": [cell], "metadata": {"kernelspec": {"name": "conda_python3", "display_name": "conda_python3"}}, "nbformat": 4, "nbformat_minor": 5}
r = s.put(URL + "/api/contents/nb.ipynb", json={"type": "notebook", "content": nb})
assert r.status_code == 201, r.text

r = s.post(URL + "/api/terminals")
assert r.status_code == 200, r.text
try:
    websocket.create_connection(WS + "/terminals/websocket/" + r.json()["name"], origin="http://other.localhost", cookie=cookies, http_no_proxy=["*"])
    sys.exit("a socket of another page was let in")
except websocket.WebSocketBadStatusException as e:
    assert e.status_code == 403, e.status_code
ok("sockets of other pages are refused")
ws = connect("/terminals/websocket/" + r.json()["name"])
ws.send(json.dumps(["stdin", "echo begin; pwd; which python aws; python -c 'import pandas'; echo $?-${SHELL}; . ~/anaconda3/bin/activate python3 && echo $CONDA_DEFAULT_ENV; aws --version; jupyter nbconvert --to markdown --stdout --execute nb.ipynb 2>/dev/null | grep 42; echo e''nd\r"]))
text = ""
while "end\r\n" not in text:
    kind, *rest = json.loads(ws.recv())
    if kind == "stdout":
        text += rest[0]
print(text)
for want in (home + "/SageMaker\r\n", home + "/anaconda3/envs/python3/bin/python", "/home/ec2-user/anaconda3/envs/JupyterSystemEnv/bin/aws", "0-/bin/bash", "aws-cli/", "    42\r\n"):
    assert want in text, want
ok("a terminal")

os.makedirs(home + "/SageMaker/repo", exist_ok=True)
r = s.post(URL + "/git/repo/init")
assert r.status_code == 200 and r.json()["code"] == 0, r.text
r = s.post(URL + "/git/repo/status")
assert r.status_code == 200 and r.json()["code"] == 0, r.text
ok("git")

r = s.put(URL + "/api/contents/x.txt", json={"type": "file", "format": "text", "content": "x" * 1000000})
assert r.status_code == 201, r.text
r = s.delete(URL + "/api/contents/x.txt")
assert r.status_code == 204 and not os.path.exists(home + "/.local/share/Trash"), r.text
ok("files")
