"""Trains a classifier of breast tumours and reports how well it does."""

import argparse
import os

import joblib
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--C", type=float, default=1.0)
    args = parser.parse_args()

    data = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "tumours.csv"))
    labels = data.pop("target")
    x_train, x_test, y_train, y_test = train_test_split(data.to_numpy(), labels, random_state=0, stratify=labels)

    model = make_pipeline(StandardScaler(), LogisticRegression(C=args.C, max_iter=1000))
    model.fit(x_train, y_train)
    auc = roc_auc_score(y_test, model.predict_proba(x_test)[:, 1])
    print(f"validation:auc={auc:.4f} validation:accuracy={model.score(x_test, y_test):.4f}", flush=True)

    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))


if __name__ == "__main__":
    main()
