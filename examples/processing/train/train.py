"""Trains a classifier of penguins on what the processing job left."""

import os

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def read(channel):
    birds = pd.read_csv(os.path.join(os.environ[f"SM_CHANNEL_{channel}"], "penguins.csv"))
    return birds, birds.pop("species")


def main():
    x_train, y_train = read("TRAIN")
    x_test, y_test = read("TEST")
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["sex"]), remainder=StandardScaler()),
        LogisticRegression(max_iter=1000),
    )
    model.fit(x_train, y_train)
    print(f"train:accuracy={model.score(x_train, y_train):.4f} test:accuracy={model.score(x_test, y_test):.4f}", flush=True)
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))


if __name__ == "__main__":
    main()
