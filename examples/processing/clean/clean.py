"""Cleans a field study of penguins, splits it, and reports what it did."""

import argparse
import json
import os

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.model_selection import train_test_split

BASE = "/opt/ml/processing"
MEASURED = {
    "Culmen Length (mm)": "bill_length_mm",
    "Culmen Depth (mm)": "bill_depth_mm",
    "Flipper Length (mm)": "flipper_length_mm",
    "Body Mass (g)": "body_mass_g",
}
COLOURS = {"Adelie": "#d95f02", "Chinstrap": "#7570b3", "Gentoo": "#1b9e77"}


def clean(raw):
    """The birds that were measured, with what a model may learn from."""
    birds = raw.rename(columns=MEASURED)
    birds["species"] = birds["Species"].str.split().str[0]  # Adelie Penguin (Pygoscelis adeliae)
    birds["sex"] = birds["Sex"].str.lower().fillna("unknown")
    return birds.dropna(subset=list(MEASURED.values()))[["species", "sex", *MEASURED.values()]]


def plot(raw, birds, path):
    missing = raw.isna().sum().loc[lambda n: n > 0].drop("Comments").sort_values()
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", width_ratios=(2, 3))
    bars = left.barh(missing.index, missing, color="#9aa5b1")
    left.bar_label(bars, padding=3)
    left.set(title=f"Missing among {len(raw)} birds", xlim=(0, missing.max() * 1.15), xticks=[])
    left.spines[["top", "right", "bottom"]].set_visible(False)
    for species, group in birds.groupby("species"):
        right.scatter(group["bill_length_mm"], group["flipper_length_mm"], s=18, alpha=0.8, color=COLOURS[species], label=f"{species} ({len(group)})")
    right.set(title=f"{len(birds)} birds after cleaning", xlabel="bill length (mm)", ylabel="flipper length (mm)")
    right.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, loc="upper left")
    fig.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--test-share", type=float, default=0.25)
    args = parser.parse_args()

    raw = pd.read_csv(f"{BASE}/input/raw/penguins-raw.csv")
    birds = clean(raw)
    train, test = train_test_split(birds, test_size=args.test_share, random_state=0, stratify=birds["species"])
    train.to_csv(f"{BASE}/output/train/penguins.csv", index=False)
    test.to_csv(f"{BASE}/output/test/penguins.csv", index=False)

    report = {
        "birds": len(raw),
        "not measured, left out": len(raw) - len(birds),
        "of unknown sex, kept": int((birds["sex"] == "unknown").sum()),
        "to train with": len(train),
        "to test with": len(test),
    }
    with open(f"{BASE}/output/report/report.json", "w") as f:
        json.dump(report, f, indent=2)
    plot(raw, birds, f"{BASE}/output/report/penguins.png")
    for what, n in report.items():
        print(f"{n:4} {what}", flush=True)

    # What DescribeProcessingJob shows as ExitMessage.
    os.makedirs("/opt/ml/output", exist_ok=True)
    with open("/opt/ml/output/message", "w") as f:
        f.write(f"{len(birds)} of {len(raw)} penguins kept")


if __name__ == "__main__":
    main()
