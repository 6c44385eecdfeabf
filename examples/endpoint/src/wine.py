"""Trains a classifier of wines, and serves it: the same script does both."""

import json
import os

import joblib
import numpy as np


def model_fn(model_dir):
    """Loads the model, once in each worker."""
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def predict_fn(data, model):
    """Says who grew each wine, and how sure that is."""
    data = np.atleast_2d(data)
    return [{"grower": int(p.argmax()), "probability": round(float(p.max()), 3)} for p in model.predict_proba(data)]


def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"


def main():
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    wines = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "wines.csv"))
    growers = wines.pop("target")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(wines.to_numpy(), growers)
    print(f"{len(wines)} wines, train:accuracy={model.score(wines.to_numpy(), growers):.4f}", flush=True)
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))


if __name__ == "__main__":
    main()
