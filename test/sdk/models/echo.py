"""Answers with what it was asked, or does what the request says."""

import json
import os
import time


class Refused(Exception):
    status_code = 400


def model_fn(model_dir):
    if os.environ.get("BROKEN"):
        raise RuntimeError("the model's weights are " + os.environ["BROKEN"])
    print("loaded from", sorted(os.listdir(model_dir)), flush=True)
    return os.environ.get("WHO", "")


def transform_fn(model, content, content_type, accept, context):
    if content_type == "application/octet-stream":
        return content, content_type
    asked = json.loads(content)
    if "print" in asked:
        print(asked["print"], flush=True)
    if "refuse" in asked:
        raise Refused(asked["refuse"])
    time.sleep(asked.get("sleep", 0))
    return json.dumps({
        "who": model, "asked": asked, "type": content_type, "accept": accept,
        "attributes": context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes"),
        "inference": context.get_request_header(0, "X-Amzn-SageMaker-Inference-Id"),
        "said": asked["say"] / asked["by"] if "by" in asked else None,
    }), accept
