"""A training script that is over at once."""

import argparse
import json
import os

import joblib
import pandas as pd
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--note", default="")
args, _ = parser.parse_known_args()

data = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "data.csv"))
labels = data.pop("label")
model = LogisticRegression(max_iter=200).fit(data.to_numpy(), labels)
for epoch in range(1, args.epochs + 1):
    print(f"epoch={epoch} loss={1 / epoch:.3f};", flush=True)
print(f"note is {args.note!r}", flush=True)
joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "seen.json"), "w") as f:
    json.dump({k: v for k, v in os.environ.items() if k.startswith(("SM_", "TRAINING_", "AWS_REGION"))}, f)
