"""The default functions of a script that belongs to no framework: those of
sagemaker-inference."""

import io
import json

from clary_runtime.handlers import CSV, JSON, NPY, Unsupported


def from_json(text):
    import numpy as np

    return np.array(json.loads(text))


def from_csv(text):
    import numpy as np

    return np.genfromtxt(io.StringIO(text), dtype=None, delimiter=",")


def from_npy(data):
    import numpy as np

    return np.load(io.BytesIO(data), allow_pickle=True)


def to_json(value):
    return json.dumps(value, default=listed)


def listed(value):
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError("an object of type %s cannot be written as JSON" % type(value).__name__)


def to_csv(value):
    import numpy as np

    out = io.StringIO()
    np.savetxt(out, value, delimiter=",", fmt="%s")
    return out.getvalue()


def to_npy(value):
    import numpy as np

    out = io.BytesIO()
    np.save(out, value)
    return out.getvalue()


READERS = {JSON: from_json, CSV: from_csv, NPY: from_npy}
WRITERS = {JSON: to_json, CSV: to_csv, NPY: to_npy}


def known(table, content_type):
    if content_type not in table:
        raise Unsupported(content_type)
    return table[content_type]


class Defaults:
    @staticmethod
    def input_fn(content, content_type):
        return known(READERS, content_type)(content)

    @staticmethod
    def predict_fn(data, model):
        raise NotImplementedError("the script defines no predict_fn(data, model)")

    @staticmethod
    def output_fn(prediction, accept):
        return known(WRITERS, accept)(prediction), accept
