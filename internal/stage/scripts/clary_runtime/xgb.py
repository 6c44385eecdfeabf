"""Serving with XGBoost: the default functions of a script, and the model of the
image's own algorithm, which needs none."""

import os
import pickle

import numpy as np
import xgboost

from clary_runtime import handlers, scikit, xgb_data
from clary_runtime.plain import known

LIBSVM = ("text/libsvm", "text/x-libsvm")


def media_type(content_type):
    return content_type.split(";")[0].strip().lower()


def csv_matrix(content):
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    return xgboost.DMatrix(xgb_data.from_csv(text))


def libsvm_matrix(content, columns=0):
    return xgboost.DMatrix(xgb_data.from_libsvm(content.decode("utf-8"), columns)[2])


READERS = {handlers.CSV: csv_matrix, **dict.fromkeys(LIBSVM, libsvm_matrix)}


class Defaults:
    @staticmethod
    def input_fn(content, content_type):
        return known(READERS, media_type(content_type))(content)

    @staticmethod
    def predict_fn(data, model):
        return model.predict(data, validate_features=False)

    @staticmethod
    def output_fn(prediction, accept):
        return known(scikit.WRITERS, accept)(prediction)


class Algorithm(handlers.Service):
    """What the image does without a script."""

    default_accept = handlers.CSV

    def __init__(self, model_dir):
        self.script = None
        if os.environ.get("SAGEMAKER_INFERENCE_OUTPUT"):
            raise ValueError("SAGEMAKER_INFERENCE_OUTPUT is not supported: a script with an output_fn can select what it answers")
        names = sorted(n for n in os.listdir(model_dir) if os.path.isfile(os.path.join(model_dir, n)) and not n.startswith("."))
        names = [n for n in names if n.startswith("xgboost-model")] or names
        if not names:
            raise RuntimeError("model.tar.gz holds no model: a file xgboost-model is looked for in %s" % model_dir)
        self.models = [booster(os.path.join(model_dir, n)) for n in names]

    def decoded(self, body, content_type):
        return body

    def transform(self, content, content_type, accept):
        if not content:
            return None
        data, kind = self.read(content, media_type(content_type))
        try:
            predictions = [predict(m, data, kind) for m in self.models]
        except Exception as e:
            raise handlers.Refused(400, "Unable to evaluate payload provided: %s" % e) from e
        result = predictions[0] if len(predictions) == 1 else np.mean(predictions, axis=0)
        accept = media_type(accept)
        if accept in (handlers.CSV, "csv"):
            if os.environ.get("SAGEMAKER_BATCH"):
                return "\n".join(map(str, result.tolist())) + "\n", handlers.CSV
            return ",".join(map(str, result.tolist())), handlers.CSV
        if accept in (handlers.JSON, "json"):
            return scikit.to_json(result), handlers.JSON
        raise handlers.Refused(415, "%s cannot be answered: ask for text/csv or application/json" % accept)

    def read(self, content, media):
        columns = self.models[0].num_features()
        try:
            if media in (handlers.CSV, "csv"):
                return csv_matrix(content.strip()), "csv"
            if media in LIBSVM or media == "libsvm":
                return libsvm_matrix(content.strip(), columns), "libsvm"
        except Exception as e:
            raise handlers.Refused(415, "the request is not valid %s: %s" % (media, e)) from e
        raise handlers.Refused(415, "%s is not supported: send text/csv or text/libsvm" % media)

    def respond(self, result, accept):
        if result is None:
            return handlers.Answer(204, b"", None)
        return handlers.Answer(200, *result)

    def told(self, status, e, trace):
        return handlers.Answer(status, str(e), "text/plain", trace)

    def parameters(self):
        text = '{"MaxConcurrentTransforms": %s, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": %d}'
        most = min(int(os.environ.get("MAX_CONTENT_LENGTH", 6 << 20)), 20 << 20) >> 20
        return handlers.Answer(200, text % (os.environ.get("CLARY_WORKERS", "1"), most), handlers.JSON)


def booster(path):
    """Reads a model that was pickled, as the algorithm's own are, or saved."""
    try:
        with open(path, "rb") as f:
            model = pickle.load(f)
        if not isinstance(model, xgboost.Booster):
            model = model.get_booster()  # of the scikit-learn interface
    except Exception as pickled:
        model = xgboost.Booster()
        try:
            model.load_model(path)
        except Exception as saved:
            raise RuntimeError("the model %s cannot be loaded, neither as a pickle: %s\nnor as XGBoost's own file: %s" % (path, pickled, saved)) from None
    model.set_param({"nthread": 1})
    return model


def predict(model, data, kind):
    have, want = data.num_col(), model.num_features()
    if kind == "libsvm" and have > want + 1:
        raise ValueError("Feature size of libsvm inference data %d is larger than feature size of trained model %d." % (have, want))
    if kind == "csv" and have not in (want, want - 1):
        raise ValueError("Feature size of csv inference data %d is not consistent with feature size of trained model %d." % (have, want))
    best = model.attr("best_iteration")
    trees = (0, int(best) + 1) if best else (0, 0)
    return model.predict(data, validate_features=False, iteration_range=trees)
