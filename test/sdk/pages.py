"""Signs in to the console as a browser does, and reads the code it shows."""

import datetime
import http.client
import os
import re
import subprocess
import sys
import urllib.parse
from html import unescape

import boto3
import pytest
from botocore.exceptions import WaiterError


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

    def bill(self):
        """What yesterday and today cost, which is not all in one month."""
        today = datetime.datetime.now(datetime.timezone.utc).date()
        return self.page(f"/billing?from={today - datetime.timedelta(days=1)}&to={today + datetime.timedelta(days=1)}")

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


def jobs(page, section="processing-jobs"):
    """The jobs that a page leads to, by their paths."""
    return set(re.findall(rf'href="/({section}/[^"?/]+)"', page))


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


def end_endpoint(region, name):
    """Deletes an endpoint and waits until it is gone: its name can be taken again, and it costs no more."""
    sm = boto3.client("sagemaker", region_name=region)
    sm.delete_endpoint(EndpointName=name)
    endpoint_gone(region, name)


def endpoint_gone(region, name):
    """Waits until an endpoint is deleted."""
    waiter = boto3.client("sagemaker", region_name=region).get_waiter("endpoint_deleted")
    waiter.config.delay, waiter.config.max_attempts = 1, 300
    waiter.wait(EndpointName=name)


def serve_snippets(client, region, folder):
    """Runs what the pages say, from a training job to an endpoint that answers."""
    console = Console(region)
    run(console.snippets("training-jobs")[client], client, region, folder)
    for section in ("models", "endpoint-configurations"):
        run(console.snippets(section)[client], client, region, folder)
        page = console.page("/" + section)
        assert "data-snippet" not in page and "iris" in page, section
    assert "model.tar.gz" in console.page("/models/iris")
    score_snippets(console, client, region, folder)
    out = run(console.snippets("endpoints")[client], client, region, folder)
    assert re.search(r"\[[0-2](\.0)?\]", out), out
    for name in set(re.findall(r'href="/endpoints/([^"?/]+)"', console.page("/endpoints"))):
        endpoint_gone(region, name)
    assert "data-snippet" in console.page("/endpoints")  # it deletes what it made
    assert "Endpoint" in console.bill()
    run(console.snippets("endpoint-configurations/iris")[client], client, region, folder)
    page = console.page("/endpoints")
    assert "iris" in page and "InService" in page
    out = run(console.snippets("endpoints/iris")[client], client, region, folder)
    assert re.search(r"\[[0-2](\.0)?\]", out), out
    end_endpoint(region, "iris")
    failed_snippet(console, client, region, folder)


def failed_snippet(console, client, region, folder):
    """Runs what the page of an endpoint that has failed says: that one is gone then."""
    sm = boto3.client("sagemaker", region_name=region)
    model = sm.describe_model(ModelName="iris")
    container = {"Image": model["PrimaryContainer"]["Image"], "ModelDataUrl": f"s3://sagemaker-{region}-123456789012/none.tar.gz"}
    sm.create_model(ModelName="broken", ExecutionRoleArn=model["ExecutionRoleArn"], PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": "broken", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sm.create_endpoint_config(EndpointConfigName="broken", ProductionVariants=[variant])
    sm.create_endpoint(EndpointName="broken", EndpointConfigName="broken")
    with pytest.raises(WaiterError, match="Failed"):
        sm.get_waiter("endpoint_in_service").wait(EndpointName="broken", WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    run(console.snippets("endpoints/broken")[client], client, region, folder)
    endpoint_gone(region, "broken")


def score_snippets(console, client, region, folder):
    """Runs what the pages say of batch transform, once there is a model."""
    scored = r"^5\.1,3\.5,1\.4,0\.2,0(\.0)?$"
    out = run(console.snippets("batch-transform")[client], client, region, folder)
    assert re.search(scored, out, re.M), out
    page = console.page("/batch-transform")
    assert "data-snippet" not in page and "Completed" in page
    (job,) = jobs(page, "batch-transform")
    page = console.page("/" + job)
    assert "flowers.csv" in page and "iris" in page
    run(console.snippets(job + "/code")[client], client, region, folder)  # what made it makes it again
    run(console.snippets("models/iris")["score_" + client], client, region, folder)
    assert len(jobs(console.page("/batch-transform"), "batch-transform")) == 3
    assert "Transform" in console.bill()
