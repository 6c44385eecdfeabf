"""The algorithm of XGBoost's image: a job without a script. It reads the
channels train and validation, prints the metrics of each round and leaves
xgboost-model."""

import json
import os
import re
import signal
import sys

import numpy as np
import scipy.sparse
import xgboost

from clary_runtime import xgb_data
from clary_runtime.xgb_parameters import MAXIMIZED, UserError, custom_metric, validated

MODEL = "xgboost-model"
CHECKPOINT = "xgboost-checkpoint"
CHECKPOINTS = 5  # that are kept


def main(base):
    def config(name):
        path = os.path.join(base, "input/config", name)
        if not os.path.exists(path):
            return {}
        with open(path) as f:
            return json.load(f)

    channels = config("inputdataconfig.json")
    if len(config("resourceconfig.json").get("hosts", [])) > 1:
        raise UserError("this runtime trains on one host alone: set InstanceCount to 1, or use script mode")
    if "train" not in channels:
        raise UserError("Missing required channel: train")
    for name in channels:
        if name not in ("train", "validation", "code"):
            raise UserError("Extraneous channel found: %s" % name)
    parameters = validated({k: v for k, v in config("hyperparameters.json").items() if not k.startswith("sagemaker_")})
    train, validation = load(base, channels, parameters.pop("csv_weights", 0))
    fit(parameters, train, validation, os.path.join(base, "model"), config("checkpointconfig.json").get("LocalPath"))


def load(base, channels, weights):
    """The matrices of both channels; the second may be None."""
    kind = content_type(channels["train"].get("ContentType"))
    found = []
    for name in ("train", "validation"):
        if name not in channels:
            continue
        path = os.path.join(base, "input/data", name)
        files = data_files(path)
        if not files:
            raise UserError("No data in %s channel path %s" % ("training" if name == "train" else name, path))
        found.append(csv(files, weights) if kind == "csv" else libsvm(files))
    width = max(values.shape[1] for _, _, values in found)
    matrices = []
    for labels, weight, values in found:
        if scipy.sparse.issparse(values) and values.shape[1] < width:
            values.resize((values.shape[0], width))
        try:
            matrices.append(xgboost.DMatrix(values, label=labels, weight=weight))
        except (xgboost.core.XGBoostError, ValueError) as e:
            raise UserError("Failed to load the data: %s" % reason(e)) from None
    return matrices[0], matrices[1] if len(matrices) > 1 else None


def content_type(text):
    media, _, rest = (text or "text/libsvm").lower().partition(";")
    media = media.strip()
    if media in ("csv", "text/csv"):
        size = re.search(r"label_size\s*=\s*(\S+)", rest)
        if size and size.group(1) != "1":
            raise UserError("%s is not an accepted csv ContentType. Optional parameter label_size must be equal to 1" % text)
        return "csv"
    if media in ("libsvm", "text/libsvm", "text/x-libsvm"):
        return "libsvm"
    if "parquet" in media or "recordio" in media:
        raise UserError("the ContentType %s is not read by this runtime: use text/csv or text/libsvm, or script mode" % text)
    raise UserError("%s is not an accepted ContentType: csv, libsvm, text/csv, text/libsvm, text/x-libsvm." % text)


def data_files(path):
    found = []
    for folder, _, names in os.walk(path):
        found += [os.path.join(folder, n) for n in names if n[0] not in "._" and os.path.getsize(os.path.join(folder, n))]
    return sorted(found)


def csv(files, weights):
    import pandas

    parts = []
    for name in files:
        with open(name, errors="ignore") as f:
            first = f.readline()
        try:
            part = pandas.read_csv(name, header=None, sep=xgb_data.delimiter(first), dtype=np.float64)
        except Exception as e:
            raise UserError("Failed to load csv data with exception:\n%s: %s. There must be no line of names, and the label comes first" % (os.path.basename(name), e)) from None
        parts.append(part.to_numpy())
    if len({p.shape[1] for p in parts}) > 1:
        raise UserError("the files of a channel have different numbers of columns: %s" % sorted({p.shape[1] for p in parts}))
    data = np.vstack(parts)
    return data[:, 0], data[:, 1] if weights else None, data[:, 1 + weights :]


def libsvm(files):
    parts = []
    for name in files:
        try:
            parts.append(libsvm_file(name))
        except Exception as e:
            raise UserError("Failed to load libsvm data with exception:\n%s: %s" % (os.path.basename(name), e)) from None
    width = max(values.shape[1] for _, _, values in parts)
    for _, _, values in parts:
        values.resize((values.shape[0], width))
    weighted = [w for _, w, _ in parts if w is not None]
    if weighted and len(weighted) < len(parts):
        raise UserError("some files have weights and others have none")
    return (
        np.concatenate([labels for labels, _, _ in parts]),
        np.concatenate(weighted) if weighted else None,
        scipy.sparse.vstack([values for _, _, values in parts]).tocsr(),
    )


def libsvm_file(name):
    with open(name) as f:
        first = f.readline().split()
        if first and ":" in first[0]:  # label:weight, which scikit-learn does not read
            return xgb_data.from_libsvm(" ".join(first) + "\n" + f.read(), labelled=True)
    from sklearn.datasets import load_svmlight_file

    values, labels = load_svmlight_file(name, zero_based=True)
    return labels, None, values


def fit(parameters, train, validation, model_dir, checkpoints):
    rounds = parameters.pop("num_round")
    keep_on_stop = parameters.pop("save_model_on_termination", "false") == "true"
    patience = parameters.pop("early_stopping_rounds", None)
    objective_metric = parameters.pop("_tuning_objective_metric", None)
    names = list(parameters.pop("eval_metric", []))
    if objective_metric:
        wanted = objective_metric.split(":")[1].split(",")
        names += [n for n in wanted if n not in names]
    builtin, custom = custom_metric(names, parameters.get("objective"))
    if builtin:
        parameters["eval_metric"] = builtin

    before, done = latest(checkpoints)
    log = Log(done, checkpoints)
    signal.signal(signal.SIGTERM, log.stop)
    callbacks = [log]
    if patience:
        by = names[-1] if names else None
        callbacks.append(
            xgboost.callback.EarlyStopping(
                patience, metric_name=by, data_name="validation" if validation is not None else None,
                maximize=by.split("@")[0] in MAXIMIZED if by else None, save_best=True,
            )
        )
    evals = [(train, "train")] + ([(validation, "validation")] if validation is not None else [])
    say("Train matrix has %d rows and %d columns" % (train.num_row(), train.num_col()))
    if validation is not None:
        say("Validation matrix has %d rows" % validation.num_row())
    try:
        model = xgboost.train(
            parameters, train, num_boost_round=max(rounds - done, 0), evals=evals, custom_metric=custom,
            callbacks=callbacks, xgb_model=before, verbose_eval=False,
        )
    except (xgboost.core.XGBoostError, ValueError) as e:
        raise UserError("XGB train call failed with exception:\n %s" % reason(e)) from None
    if log.stopping and not keep_on_stop:
        return
    model.save_model(os.path.join(model_dir, MODEL))


def reason(e):
    return str(e).split("Stack trace")[0].strip()


class Log(xgboost.callback.TrainingCallback):
    """Prints what a round came to, and keeps it."""

    def __init__(self, done, checkpoints):
        super().__init__()
        self.done, self.checkpoints, self.stopping = done, checkpoints, False

    def stop(self, *_):
        self.stopping = True

    def after_iteration(self, model, epoch, evals_log):
        number = self.done + epoch
        scores = ["%s-%s:%.5f" % (data, name, values[-1]) for data, metrics in evals_log.items() for name, values in metrics.items()]
        say("[%d]\t%s" % (number, "\t".join(scores)))
        if self.checkpoints:
            path = os.path.join(self.checkpoints, "%s.%d" % (CHECKPOINT, number))
            model.save_model(path + ".new.ubj")
            os.replace(path + ".new.ubj", path)
            for old in numbers(self.checkpoints)[:-CHECKPOINTS]:
                os.remove(os.path.join(self.checkpoints, "%s.%d" % (CHECKPOINT, old)))
        return self.stopping


def numbers(folder):
    names = (re.fullmatch(CHECKPOINT + r"\.(\d+)", n) for n in os.listdir(folder))
    return sorted(int(n.group(1)) for n in names if n)


def latest(folder):
    """The model of the last checkpoint that can be read, and the rounds in it."""
    if not folder or not os.path.isdir(folder):
        return None, 0
    for number in reversed(numbers(folder)):
        path = os.path.join(folder, "%s.%d" % (CHECKPOINT, number))
        try:
            model = xgboost.Booster()
            with open(path, "rb") as f:
                model.load_model(bytearray(f.read()))
        except xgboost.core.XGBoostError as e:
            say("the checkpoint %s cannot be read: %s" % (path, e))
            continue
        say("Checkpoint loaded from %s\nResuming from iteration %d" % (path, number + 1))
        return model, number + 1
    return None, 0


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    base = sys.argv[1]
    try:
        main(base)
    except UserError as e:
        say("ERROR %s" % e)
        with open(os.path.join(base, "output/failure"), "w") as f:
            f.write(str(e))
        sys.exit(1)
