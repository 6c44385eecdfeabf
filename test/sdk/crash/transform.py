"""A v2 transform, as anyone writes it, over a server that is killed while the
model answers and while it ends."""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import boto3  # noqa: E402
import sagemaker  # noqa: E402
from botocore.config import Config  # noqa: E402
from sagemaker.transformer import Transformer  # noqa: E402

from helpers import TRANSFORM, lines, model, name, objects, stored  # noqa: E402

# Who looks on here retries as long as the server is away.
default = boto3.client
boto3.client = lambda service, **kw: default(service, config=Config(retries={"mode": "standard", "total_max_attempts": 12}), **kw)

ROWS = 150
data = stored({"a.csv": "1\n", "b.csv": "".join(f"{i},sleep0.05\n" for i in range(ROWS)), "c.csv": "2\n"})
t = Transformer(
    model("sums.py"), instance_count=1, instance_type="ml.m5.large", strategy="SingleRecord", accept="text/csv", assemble_with="Line",
    sagemaker_session=sagemaker.Session(), base_transform_job_name=name("survivor"),
)


def asked():
    return lines(job, TRANSFORM).count("rows 1")


def until(n, within=120):
    deadline = time.monotonic() + within
    while asked() < n:
        assert time.monotonic() < deadline, lines(job, TRANSFORM)
        time.sleep(0.1)


def watch():
    until(20)
    print("kill: scoring", flush=True)
    until(ROWS + 1)
    print("kill: ending", flush=True)


t.transform(data, content_type="text/csv", split_type="Line", wait=False)
job = t.latest_transform_job.name
watcher = threading.Thread(target=watch)
watcher.start()
t.wait()
watcher.join()
out = objects(t.output_path)
assert sorted(out) == ["a.csv.out", "b.csv.out", "c.csv.out"], out
assert out["b.csv.out"].decode().splitlines() == [str(i) for i in range(ROWS)], out["b.csv.out"]
assert asked() == ROWS + 2, (asked(), lines(job, TRANSFORM))  # each row once
print("survived")
