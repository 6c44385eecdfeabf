"""See the package."""

import os
from types import SimpleNamespace


class UnsupportedFormatError(Exception):
    def __init__(self, content_type):
        super().__init__("%s is not supported here" % content_type)


class ClientError(Exception):
    pass


class Response:
    """Carries what an output_fn answers."""

    def __init__(self, response=None, accept=None, status=200, headers=None, mimetype=None, direct_passthrough=False):
        body = response if response is not None else b""
        if not isinstance(body, (str, bytes, bytearray)):
            body = b"".join(p.encode("utf-8") if isinstance(p, str) else bytes(p) for p in body)
        self.data = body.encode("utf-8") if isinstance(body, str) else bytes(body)
        self.status_code, self.mimetype = int(status), mimetype or accept or "application/json"
        kind = self.mimetype + ("; charset=utf-8" if self.mimetype.startswith("text/") else "")
        self.headers = {"Content-Type": kind, **dict(headers or {})}

    def get_data(self):
        return self.data


def decode(content, content_type):
    from clary_runtime import scikit

    if content_type not in scikit.READERS:
        raise UnsupportedFormatError(content_type)
    return scikit.READERS[content_type](content)


def encode(value, content_type):
    from clary_runtime import scikit

    if content_type not in scikit.WRITERS:
        raise UnsupportedFormatError(content_type)
    return scikit.WRITERS[content_type](value)


content_types = SimpleNamespace(
    JSON="application/json", CSV="text/csv", NPY="application/x-npy", OCTET_STREAM="application/octet-stream", ANY="*/*",
    UTF8_TYPES=["application/json", "text/csv"],
)  # fmt: skip
encoders = SimpleNamespace(decode=decode, encode=encode)
errors = SimpleNamespace(ClientError=ClientError, UnsupportedFormatError=UnsupportedFormatError)
worker = SimpleNamespace(Response=Response)
env = SimpleNamespace(model_dir=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
modules = SimpleNamespace()
transformer = SimpleNamespace()
