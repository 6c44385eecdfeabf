"""What the documented functions of a script are called with, and what becomes
of their results, as in the toolkits of SageMaker's images."""

import contextlib
import importlib
import inspect
import json
import os
import traceback

CSV, JSON, NPY = "text/csv", "application/json", "application/x-npy"
UTF8_TYPES = (JSON, CSV)
HERE = os.path.dirname(__file__)


class Unsupported(Exception):
    """A content type that a default function does not know."""

    def __init__(self, content_type):
        super().__init__(
            "%s is not supported here. The script can define an input_fn that reads it, "
            "or an output_fn that writes it" % content_type
        )


@contextlib.contextmanager
def unsupported(status):
    """Gives the error of an unknown content type, be it a toolkit's, its status."""
    try:
        yield
    except Exception as e:
        if error_name(e) == "UnsupportedFormatError":
            e.status_code = status
        raise


class Refused(Exception):
    """What a default function answers instead of a prediction."""

    def __init__(self, status_code, message):
        super().__init__(message)
        self.status_code = status_code


class Answer:
    def __init__(self, status, body, content_type, trace=""):
        self.status, self.trace = status, trace
        self.headers = [["Content-Type", content_type]] if content_type else []
        self.body = body.encode("utf-8") if isinstance(body, str) else bytes(body)


def trace_of(e):
    """The traceback of what a script did, without how it was called."""
    tb = e.__traceback__
    while tb and (tb.tb_frame.f_code.co_filename.startswith(HERE) or "importlib" in tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(e), e, tb or e.__traceback__))


def load(framework, program, model_dir):
    """Makes the service of a script, with its model loaded."""
    if framework == "scikit-learn":
        from clary_runtime.scikit import Defaults

        return Containers(module(program), Defaults, model_dir)
    if framework == "xgboost":
        from clary_runtime import xgb

        if not program:
            return xgb.Algorithm(model_dir)
        return Toolkit(module(program), xgb.Defaults, model_dir)
    script = module(program) if program else None
    if framework == "tensorflow":
        from clary_runtime.tensorflow_script import Serving

        return Serving(script, model_dir)
    if framework == "pytorch":
        from clary_runtime.torch_script import Defaults
    elif framework == "huggingface":
        from clary_runtime.transformers_script import Defaults
    else:
        from clary_runtime.plain import Defaults
    return Toolkit(script, Defaults, model_dir)


def module(program):
    return importlib.import_module(program.removesuffix(".py").replace("/", "."))


class Service:
    """One script. Subclasses are the toolkits."""

    def __init__(self, script, defaults, model_dir):
        self.script, self.defaults = script, defaults
        own = [n for n in ("input_fn", "predict_fn", "output_fn") if getattr(script, n, None)]
        self.transform_fn = getattr(script, "transform_fn", None)
        if self.transform_fn and own:
            raise ValueError("the script defines transform_fn, which goes without %s" % ", ".join(own))
        self.input_fn, self.predict_fn, self.output_fn = (
            getattr(script, n, None) or getattr(defaults, n) for n in ("input_fn", "predict_fn", "output_fn")
        )
        self.start(model_dir)

    def start(self, model_dir):
        self.model = self.load_model(model_dir)

    def load_model(self, model_dir):
        model_fn = getattr(self.script, "model_fn", None) or getattr(self.defaults, "model_fn", None)
        if model_fn is None:
            raise NotImplementedError(
                "%s defines no model_fn(model_dir), which loads the model" % getattr(self.script, "__file__", "the script")
            )
        return self.call(model_fn, model_dir)

    def call(self, function, *args):
        return function(*args)

    def answer(self, head, body):
        if head["path"] == "/execution-parameters":
            return self.parameters()
        self.head = head
        content_type = head["content_type"] or JSON
        accept = head["accept"]
        if not accept or accept == "*/*":
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", self.default_accept)
        try:
            return self.respond(self.transform(self.decoded(body, content_type), content_type, accept), accept)
        except Exception as e:
            return self.failed(e)

    default_accept = JSON

    def decoded(self, body, content_type):
        return body.decode("utf-8", "replace") if content_type in UTF8_TYPES else body

    def transform(self, content, content_type, accept):
        if self.transform_fn:
            return self.call(self.transform_fn, self.model, content, content_type, accept)
        with unsupported(415):
            data = self.call(self.input_fn, content, content_type)
        prediction = self.call(self.predict_fn, data, self.model)
        with unsupported(406):
            return self.call(self.output_fn, prediction, accept)

    def failed(self, e):
        status = getattr(e, "status_code", 500)
        if not isinstance(status, int) or not 400 <= status <= 599:
            status = 500
        return self.told(int(status), e, trace_of(e))

    def parameters(self):
        function = getattr(self.script, "execution_parameters_fn", None)
        if function is None:
            return Answer(404, "", None)
        try:
            return self.respond(function(), JSON)
        except Exception as e:
            return self.failed(e)


class Containers(Service):
    """The rules of sagemaker-containers, whose answers Flask makes."""

    def respond(self, result, accept):
        if isinstance(result, tuple):
            body, mimetype = result[0], result[1]
            return Answer(200, flat(body), with_charset(mimetype))
        if hasattr(result, "get_data") and hasattr(result, "status_code"):
            a = Answer(result.status_code, result.get_data(), None)
            a.headers = [[k, v] for k, v in result.headers.items() if k.lower() != "content-length"]
            return a
        if isinstance(result, (str, bytes, bytearray)):
            return Answer(200, result, "text/html; charset=utf-8")
        if isinstance(result, dict):
            return Answer(200, json.dumps(result, sort_keys=True, separators=(",", ":")) + "\n", JSON)
        raise TypeError(
            "output_fn or transform_fn returned %s. It must return a string, bytes, a tuple of one of these and "
            "its content type, or a dict" % type(result).__name__
        )

    def told(self, status, e, trace):
        body = json.dumps({"error": error_name(e), "error-message": str(e), "stack-trace": trace})
        return Answer(status, body, JSON, trace)


def error_name(e):
    return "UnsupportedFormatError" if isinstance(e, Unsupported) else type(e).__name__


def flat(body):
    """Flask takes what can be iterated over too."""
    if isinstance(body, (str, bytes, bytearray)):
        return body
    return b"".join(p.encode("utf-8") if isinstance(p, str) else bytes(p) for p in body)


def with_charset(mimetype):
    if mimetype and "charset" not in mimetype and (mimetype.startswith("text/") or mimetype.endswith("+xml") or mimetype == "application/xml"):
        return mimetype + "; charset=utf-8"
    return mimetype


class Toolkit(Service):
    """The rules of sagemaker-inference."""

    def start(self, model_dir):
        self.context = Context(self, model_dir)
        before, after = getattr(self.script, "pre_model_fn", None), getattr(self.script, "model_warmup_fn", None)
        if before:
            self.call(before, model_dir)
        self.model = self.load_model(model_dir)
        if after:
            self.call(after, model_dir, self.model)

    def call(self, function, *args):
        """A function may take the context besides."""
        want = len(inspect.signature(function).parameters)
        if want == len(args) + 1:
            args += (self.context,)
        elif want != len(args):
            raise TypeError("%s takes %d arguments but %d were given." % (function.__name__, want, len(args)))
        return function(*args)

    def decoded(self, body, content_type):
        return body.decode("utf-8") if content_type in UTF8_TYPES else body

    def respond(self, result, accept):
        content_type = accept
        if isinstance(result, tuple):
            result, content_type = result[0], result[1]
        if not isinstance(result, (str, bytes, bytearray)):
            result = json.dumps(result)
        return Answer(200, result, content_type)

    def told(self, status, e, trace):
        return Answer(status, "%s\n%s" % (getattr(e, "message", None) or e, trace), "text/plain", trace)


class Context:
    """What a function that takes a context finds in it."""

    def __init__(self, service, model_dir):
        self.service = service
        self.system_properties = {"model_dir": model_dir, "gpu_id": None, "batch_size": 1, "server_name": "clary"}
        self.request_processor = [self]

    def get_request_properties(self):
        return dict(self.service.head["headers"])

    def get_all_request_header(self, idx=0):
        return self.get_request_properties()

    def get_request_header(self, idx, key, exp=None):
        for name, value in self.service.head["headers"]:
            if name.lower() == key.lower():
                return value
        return None
