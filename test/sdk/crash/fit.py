"""A v2 fit, as anyone writes it, over a server that is killed meanwhile."""

import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import sagemaker  # noqa: E402
from sagemaker.sklearn import SKLearn  # noqa: E402

from helpers import ROLE, archive, lines, name, wait  # noqa: E402

SCRIPT = """
import os, time
for i in range(1, 101):
    print(f"step {i}", flush=True)
    time.sleep(0.1)
open(os.path.join(os.environ["SM_MODEL_DIR"], "m"), "w").write("x")
"""
with open("/tmp/" + name("fit") + ".py", "w") as f:
    f.write(SCRIPT)
e = SKLearn(entry_point=f.name, framework_version="1.2-1", instance_type="ml.m5.large", role=ROLE,
            sagemaker_session=sagemaker.Session(), base_job_name="survivor")
job = name("survivor")


def watch():
    wait(job, ("Training",), "SecondaryStatus")
    print("kill: training", flush=True)


e.fit(wait=False, job_name=job)
watcher = threading.Thread(target=watch)
watcher.start()
e.latest_training_job.wait(logs=True)
watcher.join()
os.remove(f.name)
assert list(archive(e.model_data)) == ["m"]
assert [x for x in lines(job) if x.startswith("step ")] == [f"step {i}" for i in range(1, 101)]
print("survived")
