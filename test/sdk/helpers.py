"""What the flows of v2, v3 and crash share: names, jobs and looking at them."""

import http.client
import io
import json
import os
import tarfile
import time
import uuid
from urllib.parse import quote, urlsplit

import boto3

ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
PLAIN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:1.0"  # without a framework
JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jobs")
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
GROUP = "/aws/sagemaker/TrainingJobs"
PROCESSING = "/aws/sagemaker/ProcessingJobs"
TRANSFORM = "/aws/sagemaker/TransformJobs"
ENDPOINTS = "/aws/sagemaker/Endpoints/"  # and the name of one
ENDED = ("Completed", "Failed", "Stopped")


def name(base="job"):
    return f"{base}-{uuid.uuid4().hex[:12]}"


def bucket():
    """The bucket that the SDK makes by default, made here as well if need be."""
    s3 = boto3.client("s3")
    account = boto3.client("sts").get_caller_identity()["Account"]
    b = f"sagemaker-{s3.meta.region_name}-{account}"
    s3.create_bucket(Bucket=b)
    return b


def request(job, script, **more):
    """A training job that runs a shell script in the scikit-learn image."""
    r = {
        "TrainingJobName": job,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/bash", "-c"],
            "ContainerArguments": [script],
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket()}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    algorithm = more.pop("AlgorithmSpecification", None)
    r.update(more)
    if algorithm:
        r["AlgorithmSpecification"].update(algorithm)
    return r


def wait(job, until=ENDED, key="TrainingJobStatus", within=240):
    """Describes the job until it is there, and returns the description."""
    sm = boto3.client("sagemaker")
    deadline = time.monotonic() + within
    while True:
        d = sm.describe_training_job(TrainingJobName=job)
        if d[key] in until:
            return d
        assert d["TrainingJobStatus"] not in ENDED, (d["SecondaryStatus"], d.get("FailureReason"))
        assert time.monotonic() < deadline, f"{job} is still {d['SecondaryStatus']}"
        time.sleep(0.2)


def run(job, script, **more):
    boto3.client("sagemaker").create_training_job(**request(job, script, **more))
    return wait(job)


def processing(job, script, **more):
    """A processing job that runs a shell script of up to 256 characters in the
    scikit-learn image."""
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": more.pop("InstanceCount", 1), "VolumeSizeInGB": 5}
    return {
        "ProcessingJobName": job,
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["/bin/bash", "-c"], "ContainerArguments": [script]},
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **more,
    }


def given(uri, name="data", path="/opt/ml/processing/input/data", **more):
    """An input of a processing job."""
    s3 = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File", **more}
    return {"InputName": name, "S3Input": s3}


def made(uri, name="out", path="/opt/ml/processing/output", mode="EndOfJob"):
    """An output of a processing job."""
    return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": path, "S3UploadMode": mode}}


def processed(job, within=240):
    """The description of a processing job that has ended."""
    sm = boto3.client("sagemaker")
    deadline = time.monotonic() + within
    while (d := sm.describe_processing_job(ProcessingJobName=job))["ProcessingJobStatus"] not in ENDED:
        assert time.monotonic() < deadline, f"{job} is still {d['ProcessingJobStatus']}"
        time.sleep(0.2)
    return d


def process(job, script, **more):
    boto3.client("sagemaker").create_processing_job(**processing(job, script, **more))
    return processed(job)


def objects(uri):
    """The objects below an S3 URI, by what is left of their keys."""
    s3 = boto3.client("s3")
    b, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/") + "/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=b, Prefix=prefix)
    keys = [o["Key"] for p in pages for o in p.get("Contents", [])]
    return {k.removeprefix(prefix): s3.get_object(Bucket=b, Key=k)["Body"].read() for k in keys}


def lines(job, group=GROUP):
    """Every line that the job printed, over all of its streams, without what
    the building of its runtime said."""
    logs = boto3.client("logs")
    out = []
    try:
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=job + "/")["logStreams"]
    except logs.exceptions.ResourceNotFoundException:  # no job has printed anything yet
        return out
    for s in streams:
        token = {}
        while True:
            page = logs.get_log_events(logGroupName=group, logStreamName=s["logStreamName"], startFromHead=True, **token)
            out += [e["message"] for e in page["events"] if not e["message"].startswith("[clary] ")]
            if token and token["nextToken"] == page["nextForwardToken"]:
                break
            token = {"nextToken": page["nextForwardToken"]}
    return out


def printed(job, line, group, within=240):
    """Waits until the job has printed a line."""
    deadline = time.monotonic() + within
    while line not in lines(job, group):
        assert time.monotonic() < deadline, f"{job} does not say {line!r}"
        time.sleep(0.2)


def archive(uri):
    """The files of a tar.gz in S3, by name."""
    b, _, key = uri.removeprefix("s3://").partition("/")
    body = boto3.client("s3").get_object(Bucket=b, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}


def packed(files):
    """A tar.gz in S3 of files, given as bytes by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    b, key = bucket(), name("packed") + "/model.tar.gz"
    boto3.client("s3").put_object(Bucket=b, Key=key, Body=out.getvalue())
    return f"s3://{b}/{key}"


def container(script, **env):
    """A container of a model: a script and an environment, in the plain image."""
    with open(os.path.join(MODELS, script), "rb") as f:
        uri = packed({"code/inference.py": f.read()})
    return {"Image": PLAIN, "ModelDataUrl": uri, "Environment": {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", **env}}


def model(script="echo.py", **env):
    """The name of a model of one container."""
    m = name("model")
    boto3.client("sagemaker").create_model(ModelName=m, ExecutionRoleArn=ROLE, PrimaryContainer=container(script, **env))
    return m


def variant(model, name="AllTraffic", **more):
    return {"VariantName": name, "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large", **more}


def config(*variants, **more):
    """The name of an endpoint configuration."""
    c = name("config")
    boto3.client("sagemaker").create_endpoint_config(EndpointConfigName=c, ProductionVariants=list(variants), **more)
    return c


def deploy(config, **more):
    """The name of an endpoint that is in service."""
    e = name("endpoint")
    boto3.client("sagemaker").create_endpoint(EndpointName=e, EndpointConfigName=config, **more)
    served(e)
    return e


def served(endpoint, until=("InService",), within=240):
    """Describes the endpoint until it is there, and returns the description."""
    sm = boto3.client("sagemaker")
    deadline = time.monotonic() + within
    while (d := sm.describe_endpoint(EndpointName=endpoint))["EndpointStatus"] not in until:
        assert d["EndpointStatus"] not in ("InService", "Failed"), (d["EndpointStatus"], d.get("FailureReason"))
        assert time.monotonic() < deadline, f"{endpoint} is still {d['EndpointStatus']}: {d}"
        time.sleep(0.2)
    return d


def undeploy(endpoint):
    """Deletes the endpoint and waits until it is gone."""
    boto3.client("sagemaker").delete_endpoint(EndpointName=endpoint)
    gone(endpoint)


def gone(endpoint):
    waiter = boto3.client("sagemaker").get_waiter("endpoint_deleted")
    waiter.wait(EndpointName=endpoint, WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def stored(files, prefix=None):
    """A fresh prefix with objects, given as text or bytes by what follows it in
    their keys."""
    uri = f"s3://{bucket()}/{prefix or name('in')}"
    for k, v in files.items():
        boto3.client("s3").put_object(Bucket=bucket(), Key=uri.split("/", 3)[3] + "/" + k, Body=v)
    return uri


def transforming(job, model, data, out, **more):
    """A transform job of lines of CSV."""
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}}
    return {
        "TransformJobName": job,
        "ModelName": model,
        "TransformInput": {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line", **more.pop("TransformInput", {})},
        "TransformOutput": {"S3OutputPath": out, "Accept": "text/csv", "AssembleWith": "Line", **more.pop("TransformOutput", {})},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": more.pop("InstanceCount", 1)},
        **more,
    }


def transformed(job, until=ENDED, within=240):
    """The description of a transform job that has ended."""
    sm = boto3.client("sagemaker")
    deadline = time.monotonic() + within
    while (d := sm.describe_transform_job(TransformJobName=job))["TransformJobStatus"] not in until:
        assert time.monotonic() < deadline, f"{job} is still {d['TransformJobStatus']}"
        time.sleep(0.2)
    return d


def transform(model, data, **more):
    """Runs a transform job to its end. Gives its description and what it stored."""
    job, out = name("transform"), f"s3://{bucket()}/{name('out')}"
    boto3.client("sagemaker").create_transform_job(**transforming(job, model, data, out, **more))
    return transformed(job), objects(out)


def training_csv(folder):
    """Real data in a file: the irises that scikit-learn ships."""
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True, as_frame=True)
    path = os.path.join(folder, "data.csv")
    x.assign(label=y).to_csv(path, index=False)
    return path


def secondary(d):
    return [t["Status"] for t in d["SecondaryStatusTransitions"]]


class Lab:
    """A browser's session with a notebook instance, opened by a presigned URL.
    Names below localhost are this machine's."""

    def __init__(self, url):
        u = urlsplit(url)
        assert u.scheme == "http" and u.hostname.startswith("nb-") and u.hostname.endswith(".localhost"), url
        self.host, self.port, self.cookies = u.netloc, u.port, {}
        to = u.path + "?" + u.query
        for _ in range(5):
            status, headers, _ = self.ask("GET", to, site="none")
            if status not in (302, 303):
                break
            at = urlsplit(headers["Location"])
            to = at.path + ("?" + at.query if at.query else "")
        assert status == 200 and any(c.startswith("__Host-") for c in self.cookies), (status, list(self.cookies))

    def ask(self, method, path, body=None, site="same-origin"):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Host": self.host, "Sec-Fetch-Site": site, "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if body is not None:
            headers |= {"Origin": f"http://{self.host}", "X-XSRFToken": self.cookies.get("_xsrf", "")}
        c.request(method, path, body=body, headers=headers)
        r = c.getresponse()
        answer = r.read()
        for h, v in r.getheaders():
            if h.lower() == "set-cookie":
                k, _, v = v.partition(";")[0].partition("=")
                self.cookies[k] = v
        c.close()
        return r.status, r.headers, answer

    def put(self, file, text):
        status, _, answer = self.ask("PUT", "/api/contents/" + quote(file), json.dumps({"type": "file", "format": "text", "content": text}))
        assert status in (200, 201), (status, answer)

    def get(self, file):
        status, _, answer = self.ask("GET", "/api/contents/" + quote(file) + "?content=1")
        assert status == 200, (status, answer)
        return json.loads(answer)["content"]
