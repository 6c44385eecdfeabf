"""Learns how late flights land, and says so of others: the same script does both."""

import io
import os

import joblib
import pandas as pd

SEEN = ["carrier", "origin", "hour", "distance", "dep_delay"]  # what is known when a plane takes off


def model_fn(model_dir):
    """Loads the model, once in each worker."""
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def input_fn(body, content_type):
    """A batch of rows, as batch transform splits them off its objects."""
    if content_type != "text/csv":
        raise ValueError(f"{content_type} is not text/csv")
    return pd.read_csv(io.StringIO(body), header=None, names=SEEN)


def predict_fn(flights, model):
    return model.predict(flights)


def output_fn(delays, accept):
    """One line for each row, in their order."""
    return "".join(f"{delay:.1f}\n" for delay in delays), "text/csv"


def main():
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    flights = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "flights.csv"))
    late = flights.pop("arr_delay")
    model = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier", "origin"]), remainder="passthrough"),
        HistGradientBoostingRegressor(max_iter=60, min_samples_leaf=100, random_state=0),
    )
    model.fit(flights[SEEN], late)
    print(f"{len(flights)} flights, train:error={(model.predict(flights[SEEN]) - late).abs().mean():.2f}", flush=True)
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))


if __name__ == "__main__":
    main()
