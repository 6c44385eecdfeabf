"""Trains a classifier of irises, and loads it to serve; the image does the rest."""

import os

import joblib


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))


if __name__ == "__main__":
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    data = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "data.csv"))
    labels = data.pop("label")
    model = LogisticRegression(max_iter=200).fit(data.to_numpy(), labels)
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
