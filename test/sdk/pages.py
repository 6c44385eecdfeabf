"""Signs in to the console as a browser does, and reads the code it shows."""

import http.client
import os
import re
import subprocess
import sys
import urllib.parse
from html import unescape

import boto3


class Console:
    """A session in one region."""

    def __init__(self, region):
        link = subprocess.run(
            [os.environ["CLARY_BIN"], "--data", os.environ["CLARY_DATA"], "open", "--print"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        url = urllib.parse.urlsplit(link)
        self.host, self.cookie = url.netloc, ""
        answer = self._ask("GET", url.path + "?" + url.query)
        assert answer.status == 303, answer.status
        self.cookie = answer.getheader("Set-Cookie").split(";")[0]
        token = re.search(r'name="token" value="([^"]+)"', self.page("/"))[1]
        answer = self._ask("POST", "/region", urllib.parse.urlencode({"token": token, "region": region, "next": "/"}))
        assert answer.status == 303, answer.status

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", int(self.host.rsplit(":", 1)[1]), timeout=60)
        headers = {"Host": self.host, "Cookie": self.cookie}
        if body is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://" + self.host}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        return answer

    def page(self, path):
        answer = self._ask("GET", path)
        assert answer.status == 200, (path, answer.status, answer.text[:300])
        return answer.text

    def snippets(self, section):
        found = re.findall(r'<pre[^>]*data-snippet="(\w+)">(.*?)</pre>', self.page("/" + section), re.S)
        return {name: unescape(code) for name, code in found}


def jobs(page):
    """The processing jobs that a page leads to, by their paths."""
    return set(re.findall(r'href="/(processing-jobs/[^"?/]+)"', page))


def run(code, client, region, folder):
    """Runs code that the console showed, in a folder of its own, and gives its output."""
    command = ["bash", "-c", code] if client == "cli" else [sys.executable, "-c", code]
    env = {**os.environ, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{client}:\n{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def end_notebook(region):
    """Stops and deletes what the code for notebook instances made: it would cost."""
    sm = boto3.client("sagemaker", region_name=region)
    name = {"NotebookInstanceName": "first-steps"}
    sm.stop_notebook_instance(**name)
    for act, state in ((None, "stopped"), (sm.delete_notebook_instance, "deleted")):
        if act:
            act(**name)
        waiter = sm.get_waiter("notebook_instance_" + state)
        waiter.config.delay, waiter.config.max_attempts = 1, 300
        waiter.wait(**name)
