"""A processing script that keeps one kind of iris and tells what it finds."""

import argparse
import glob
import json
import os

import pandas as pd

BASE = "/opt/ml/processing"

parser = argparse.ArgumentParser()
parser.add_argument("--label", type=int, required=True)
parser.add_argument("--note", default="")
args = parser.parse_args()

data = pd.concat(pd.read_csv(f) for f in sorted(glob.glob(f"{BASE}/input/data/*.csv")))
kept = data[data["label"] == args.label]
kept.to_csv(f"{BASE}/output/kept/kept.csv", index=False)
print(f"kept {len(kept)} of {len(data)}", flush=True)

config = {}
for name in ("processingjobconfig", "resourceconfig"):
    with open(f"/opt/ml/config/{name}.json") as f:
        config[name] = json.load(f)
os.makedirs(f"{BASE}/output/seen/deep")
with open(f"{BASE}/output/seen/deep/seen.json", "w") as f:
    json.dump({"note": args.note, "env": dict(os.environ), **config}, f)
with open("/opt/ml/output/message", "w") as f:
    f.write(f"kept {len(kept)} ✓")
