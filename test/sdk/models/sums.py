"""Answers each row of CSV, or each line of JSON, with the sum of its numbers
times TIMES; or does what a word in it says. Says how large each request was."""

import json
import os
import time

if "PARAMETERS" in os.environ:

    def execution_parameters_fn():
        return os.environ["PARAMETERS"]


class Refused(Exception):
    status_code = 400


def model_fn(model_dir):
    if os.environ.get("BROKEN"):
        raise RuntimeError("the model's weights are " + os.environ["BROKEN"])
    print("batch", os.environ.get("SAGEMAKER_BATCH"), flush=True)
    return float(os.environ.get("TIMES", "1"))


def number(value):
    if value == "refuse":
        raise Refused("no such flower")
    if value == "die":
        os._exit(3)  # without a word
    if value == "once":
        try:
            os.mkdir("/tmp/once")
        except FileExistsError:
            return 0
        raise RuntimeError("not the first time")
    if isinstance(value, str) and value.startswith("sleep"):
        time.sleep(float(value.removeprefix("sleep")))
        return 0
    return float(value)


def transform_fn(times, content, content_type, accept):
    if content_type == "application/octet-stream":
        print("bytes", len(content), flush=True)
        return content[::-1], content_type
    lines = content.splitlines()
    print("rows", len(lines), flush=True)
    if content_type == "application/jsonlines":
        sums = [sum(json.loads(line)) * times for line in lines]
        return "".join(json.dumps({"sum": s, "of": len(lines)}) + "\n" for s in sums), accept
    sums = [sum(number(v) for v in line.split(",")) * times for line in lines]
    return "".join(f"{s:g}\n" for s in sums), accept
