"""The hyperparameters of XGBoost's image: which there are, what they may be,
and the metrics that are not XGBoost's own."""

import math


class UserError(Exception):
    """What the user can mend."""


def number(kind, low=None, high=None, over=None, under=None):
    def read(name, text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        inside = value is not None and not (
            isinstance(value, float) and math.isnan(value)
            or low is not None and value < low
            or high is not None and value > high
            or over is not None and value <= over
            or under is not None and value >= under
        )
        if not inside:
            bounds = [("at least", low), ("at most", high), ("more than", over), ("less than", under)]
            said = " and ".join("%s %s" % (w, b) for w, b in bounds if b is not None)
            raise UserError(
                "Hyperparameter %s: value %s is not in range: it must be %s%s" % (name, text, "a whole number" if kind is int else "a number", said and ", " + said)
            )
        return value

    return read


def one_of(*values):
    def read(name, text):
        if text not in values:
            raise UserError("Hyperparameter %s: value %s is not in range %s" % (name, text, list(values)))
        return text

    return read


def some_of(*values):
    check = one_of(*values)

    def read(name, text):
        return [check(name, v.strip()) for v in text.strip("[]").replace("'", "").replace('"', "").split(",")]

    return read


def as_is(name, text):
    return text


MAXIMIZED = ["accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg", "precision", "r2", "recall",
             "precision_macro", "precision_micro", "recall_macro", "recall_micro"]  # fmt: skip
MINIMIZED = ["aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "interval-regression-accuracy", "logloss", "mae", "mape",
             "merror", "mlogloss", "mphe", "mse", "poisson-nloglik", "rmse", "rmsle", "tweedie-nloglik"]  # fmt: skip


def metrics(name, text):
    found = [v.strip() for v in text.strip("[]").replace("'", "").replace('"', "").split(",")]
    for m in found:
        base, _, threshold = m.partition("@")
        if threshold and base in ("error", "ndcg", "map"):
            number(float)("%s of %s" % (m, name), threshold.rstrip("-"))
        elif m not in MAXIMIZED + MINIMIZED and not m.startswith("tweedie-nloglik@"):
            raise UserError("Hyperparameter %s: value %s is not in range %s" % (name, m, MAXIMIZED + MINIMIZED))
    return found


def objective_metric(name, text):
    data, _, metric = text.partition(":")
    if data not in ("train", "validation"):
        raise UserError("Hyperparameter %s: value %s is not in range: it must be like validation:rmse" % (name, text))
    metrics(name, metric)
    return text


share = number(float, low=0, high=1)
part = number(float, over=0, high=1)
positive = number(float, low=0)
switch = number(int, low=0, high=1)

KNOWN = {
    "num_round": number(int, low=1),
    "csv_weights": switch,
    "early_stopping_rounds": number(int, low=1),
    "booster": one_of("gbtree", "gblinear", "dart"),
    "verbosity": number(int, low=0, high=3),
    "nthread": number(int, low=1),
    "eta": share,
    "gamma": positive,
    "max_depth": number(int, low=0),
    "min_child_weight": positive,
    "max_delta_step": positive,
    "subsample": part,
    "colsample_bytree": part,
    "colsample_bylevel": part,
    "colsample_bynode": part,
    "lambda": positive,
    "alpha": positive,
    "tree_method": one_of("auto", "exact", "approx", "hist", "gpu_hist"),
    "sketch_eps": number(float, over=0, under=1),
    "scale_pos_weight": number(float, over=0),
    "updater": some_of("grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker", "grow_skmaker", "grow_quantile_histmaker", "sync", "refresh", "prune", "shotgun", "coord_descent"),
    "dsplit": one_of("row", "col"),
    "refresh_leaf": switch,
    "process_type": one_of("default", "update"),
    "grow_policy": one_of("depthwise", "lossguide"),
    "max_leaves": number(int, low=0),
    "max_bin": number(int, low=0),
    "predictor": one_of("auto", "cpu_predictor", "gpu_predictor"),
    "monotone_constraints": as_is,
    "interaction_constraints": as_is,
    "sample_type": one_of("uniform", "weighted"),
    "normalize_type": one_of("tree", "forest"),
    "rate_drop": share,
    "one_drop": switch,
    "skip_drop": share,
    "lambda_bias": share,
    "tweedie_variance_power": number(float, over=1, under=2),
    "objective": one_of(
        "aft_loss_distribution", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "multi:softmax", "multi:softprob",
        "rank:pairwise", "rank:ndcg", "rank:map", "reg:linear", "reg:squarederror", "reg:logistic", "reg:gamma", "reg:pseudohubererror",
        "reg:absoluteerror", "reg:squaredlogerror", "reg:tweedie", "survival:aft", "survival:cox",
    ),
    "num_class": number(int, low=2),
    "base_score": positive,
    "_kfold": number(int, low=2),
    "_num_cv_round": number(int, low=1),
    "_tuning_objective_metric": objective_metric,
    "eval_metric": metrics,
    "seed": number(int, over=-(2**31), under=2**31 - 1),
    "num_parallel_tree": number(int, low=1),
    "save_model_on_termination": one_of("true", "false"),
    "aft_loss_distribution": one_of("normal", "logistic", "extreme"),
    "aft_loss_distribution_scale": number(float, over=0),
    "deterministic_histogram": one_of("true", "false"),
    "sampling_method": one_of("uniform", "gradient_based"),
    "single_precision_histogram": one_of("true", "false"),
    "huber_slope": number(float, over=0),
    "use_dask_gpu_training": one_of("true", "false"),
}  # fmt: skip

# Those that newer versions of XGBoost know no more, and what was right of them.
GONE = ("sketch_eps", "dsplit", "predictor", "deterministic_histogram", "single_precision_histogram")


def validated(given):
    """What XGBoost is told, or a UserError in the words of the image."""
    for name in given:
        if name not in KNOWN:
            raise UserError("Extraneous hyperparameter found: %s" % name)
    if "num_round" not in given:
        raise UserError("Missing required hyperparameter: num_round")
    p = {name: KNOWN[name](name, str(text).strip()) for name, text in given.items()}
    if "_kfold" in p or "_num_cv_round" in p:
        raise UserError("_kfold is not supported by this runtime: use script mode and xgboost.cv")
    if p.pop("use_dask_gpu_training", "false") == "true" or p.get("tree_method") == "gpu_hist" or p.get("predictor") == "gpu_predictor":
        raise UserError("this runtime has no GPU: tree_method may be hist, and use_dask_gpu_training false")
    objective = p.get("objective", "reg:squarederror")
    if objective in ("multi:softmax", "multi:softprob") and "num_class" not in p:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    if "num_class" in p and "objective" not in p:
        raise UserError("Do not need to setup parameter 'num_class' for learning task other than multi-classification.")
    if "auc" in p.get("eval_metric", []) and not objective.startswith(("binary:", "rank:")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if p.get("objective") == "reg:linear":
        p["objective"] = "reg:squarederror"  # its name since 0.90
    for name in GONE:
        if p.pop(name, None) is not None:
            print("WARNING the hyperparameter %s has no meaning in this version of XGBoost and is left out" % name, flush=True)
    if "updater" in p:
        p["updater"] = ",".join(p["updater"])
    return p


def classes(predictions):
    import numpy as np

    return np.argmax(predictions, axis=1) if predictions.ndim > 1 and predictions.shape[1] > 1 else (predictions > 0.5).astype(int)


def scores():
    """The metrics that the image has besides XGBoost's, by name."""
    from sklearn import metrics as m

    def of_classes(function, **options):
        return lambda labels, predictions: function(labels, classes(predictions), **options)

    return {
        "accuracy": of_classes(m.accuracy_score),
        "balanced_accuracy": of_classes(m.balanced_accuracy_score),
        "f1": of_classes(m.f1_score, average="macro"),
        "f1_binary": of_classes(m.f1_score, average="binary"),
        "f1_macro": of_classes(m.f1_score, average="macro"),
        "precision": of_classes(m.precision_score, average="binary"),
        "precision_macro": of_classes(m.precision_score, average="macro"),
        "precision_micro": of_classes(m.precision_score, average="micro"),
        "recall": of_classes(m.recall_score, average="binary"),
        "recall_macro": of_classes(m.recall_score, average="macro"),
        "recall_micro": of_classes(m.recall_score, average="micro"),
        "mse": m.mean_squared_error,
        "r2": m.r2_score,
    }


def custom_metric(names, objective):
    """Splits metrics into XGBoost's own and a function for the others, or None."""
    if not names:
        return [], None
    table = scores()
    own = [n for n in names if n not in table]
    others = [n for n in names if n in table]

    def score(predictions, data):
        labels = data.get_label()
        return [(n, float(table[n](labels, predictions))) for n in others]

    return own, score if others else None
