"""The default functions of the scikit-learn image."""

import csv
import io

from clary_runtime.handlers import CSV, JSON, NPY, UTF8_TYPES
from clary_runtime.plain import from_json, from_npy, known, to_json, to_npy


def from_csv(text):
    import numpy as np

    rows = csv.reader(io.StringIO(text), strict=True)
    array = np.array([row for row in rows]).squeeze()
    try:
        return array.astype(float)
    except ValueError:
        return array  # of strings, which the script may make something of


def to_csv(value):
    import numpy as np

    array = np.array(value)
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", strict=True).writerows(array)
    return out.getvalue()


READERS = {JSON: from_json, CSV: from_csv, NPY: from_npy}
WRITERS = {JSON: to_json, CSV: to_csv, NPY: to_npy}


class Defaults:
    @staticmethod
    def input_fn(content, content_type):
        import numpy as np

        array = known(READERS, content_type)(content)
        return array.astype(np.float32) if content_type in UTF8_TYPES else array

    @staticmethod
    def predict_fn(data, model):
        return model.predict(data)

    @staticmethod
    def output_fn(prediction, accept):
        return known(WRITERS, accept)(prediction), accept
