"""Serving with TensorFlow: a SavedModel, asked as TensorFlow Serving is asked by
REST, and the handlers that a script may put around it."""

import io
import json
import os
from collections import namedtuple

import numpy as np
import tensorflow as tf

from clary_runtime.handlers import CSV, JSON, Answer, Service

Context = namedtuple(
    "Context", "model_name, model_version, method, rest_uri, grpc_port, custom_attributes, request_content_type, accept_header, content_length"
)


class Response:
    """What an output_handler is given."""

    def __init__(self, status_code, content):
        self.status_code, self.content = status_code, content
        self.text = content.decode("utf-8")
        self.headers = {"Content-Type": JSON}

    def json(self):
        return json.loads(self.content)


def saved_model(model_dir):
    """The newest version, which is in a folder named by its number."""
    found = [(folder, int(os.path.basename(folder)) if os.path.basename(folder).isdigit() else 0) for folder, _, files in os.walk(model_dir) if "saved_model.pb" in files]
    if not found:
        raise FileNotFoundError("model.tar.gz holds no SavedModel: a file saved_model.pb in a folder named by its version is looked for below %s" % model_dir)
    return max(found, key=lambda f: f[1])


class Serving(Service):
    def __init__(self, script, model_dir):
        self.script = script
        if getattr(script, "handler", None):
            raise NotImplementedError("a script with handler(data, context) asks TensorFlow Serving itself, which is not here: define input_handler and output_handler")
        self.input_handler, self.output_handler = getattr(script, "input_handler", None), getattr(script, "output_handler", None)
        if bool(self.input_handler) != bool(self.output_handler):
            raise NotImplementedError("a script must define both input_handler and output_handler, or none of them")
        folder, self.version = saved_model(model_dir)
        self.model = tf.saved_model.load(folder)

    def answer(self, head, body):
        if head["path"] == "/execution-parameters":
            return Answer(404, "", None)
        try:
            return self.invoke(head, body)
        except Exception as e:
            return self.failed(e)

    def told(self, status, e, trace):
        return Answer(status, json.dumps({"error": str(e)}), JSON, trace)

    def invoke(self, head, body):
        attributes = dict(part.partition("=")[::2] for part in self.header(head, "X-Amzn-SageMaker-Custom-Attributes").split(",") if "=" in part)
        attributes = {k.strip(): v.strip() for k, v in attributes.items()}
        method = attributes.get("tfs-method", "predict")
        if method != "predict":
            return Answer(400, json.dumps({"error": "tfs-method %s is not supported here: predict is" % method}), JSON)
        accept = head["accept"] if head["accept"] not in ("", "*/*") else JSON
        context = Context("model", attributes.get("tfs-model-version", str(self.version)), method, "", None, self.header(head, "X-Amzn-SageMaker-Custom-Attributes"), head["content_type"] or JSON, accept, len(body))
        if self.input_handler:
            asked = self.input_handler(io.BytesIO(body), context)
        else:
            asked = self.read(body, context.request_content_type)
        try:
            status, content = 200, self.predict(json.loads(asked))
        except Exception as e:
            status, content = 400, {"error": str(e)}
        response = Response(status, json.dumps(content).encode())
        if self.output_handler:
            out = self.output_handler(response, context)
            content, kind = out if isinstance(out, tuple) else (out, JSON)
            return Answer(200, content, kind)
        return Answer(status, response.content, JSON)

    def header(self, head, name):
        return next((v for k, v in head["headers"] if k.lower() == name.lower()), "")

    def read(self, body, content_type):
        media = content_type.split(";")[0].strip()
        if media in (JSON, "application/jsons", "application/jsonlines"):
            text = body.decode("utf-8").strip()
            if media == JSON and "\n" not in text:
                value = json.loads(text)
                if isinstance(value, dict) and ("instances" in value or "inputs" in value):
                    return text
                return json.dumps({"instances": value if isinstance(value, list) else [value]})
            return json.dumps({"instances": [json.loads(line) for line in text.splitlines() if line.strip()]})
        if media == CSV:
            rows = [[float(x) for x in line.split(",")] for line in body.decode("utf-8").splitlines() if line.strip()]
            return json.dumps({"instances": rows})
        e = ValueError("%s is not supported: send application/json, application/jsonlines or text/csv, or define an input_handler" % media)
        e.status_code = 415
        raise e

    def predict(self, asked):
        name = asked.get("signature_name", "serving_default")
        if name not in self.model.signatures:
            raise ValueError("the model has no signature %s; it has: %s" % (name, ", ".join(self.model.signatures)))
        signature = self.model.signatures[name]
        specs = signature.structured_input_signature[1]
        rows = "instances" in asked
        given = asked["instances"] if rows else asked["inputs"]
        if rows and given and isinstance(given[0], dict) and set(given[0]) <= set(specs):
            given = {k: [row[k] for row in given] for k in specs}
        elif len(specs) == 1 and not (isinstance(given, dict) and set(given) == set(specs)):
            given = {next(iter(specs)): given}
        out = signature(**{k: tf.constant(np.array(given[k]), dtype=spec.dtype) for k, spec in specs.items()})
        values = {k: v.numpy().tolist() for k, v in out.items()}
        if not rows:
            return {"outputs": values if len(values) > 1 else next(iter(values.values()))}
        if len(values) == 1:
            return {"predictions": next(iter(values.values()))}
        return {"predictions": [dict(zip(values, row)) for row in zip(*values.values())]}
