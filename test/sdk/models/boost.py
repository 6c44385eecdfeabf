"""Trains an XGBoost model of tumours, and loads it to serve."""

import os

import xgboost


def model_fn(model_dir):
    return xgboost.Booster({"nthread": 1}, model_file=os.path.join(model_dir, "model.ubj"))


if __name__ == "__main__":
    import pandas as pd

    data = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), header=None)
    labels = data.pop(0)
    model = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(data.to_numpy(), labels), num_boost_round=20)
    model.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "model.ubj"))
