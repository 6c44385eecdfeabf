"""Trains a classifier of handwritten digits, epoch by epoch, and loads it to
serve."""

import argparse
import os

import joblib
import numpy as np
import pandas as pd
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SIDE = 8  # the images are 8 x 8 pixels


def shifted(images, labels):
    """Each image again, moved by one pixel in each direction."""
    square = images.reshape(-1, SIDE, SIDE)
    moved = [images]
    for axis in (1, 2):
        for step in (-1, 1):
            copy = np.roll(square, step, axis=axis)
            edge = [slice(None)] * 3
            edge[axis] = 0 if step == 1 else -1
            copy[tuple(edge)] = 0
            moved.append(copy.reshape(images.shape))
    return np.concatenate(moved), np.tile(labels, len(moved))


def model_fn(model_dir):
    """What an endpoint's workers begin with; the image does the rest."""
    return joblib.load(os.path.join(model_dir, "model.joblib"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--components", type=int, default=300)
    parser.add_argument("-C", "--C", type=float, default=1.0)
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
    args = parser.parse_args()

    data = pd.read_csv(os.path.join(args.train, "digits.csv"))
    labels = data.pop("label").to_numpy()
    images = data.to_numpy(dtype=float)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, random_state=0, stratify=labels)
    x_train, y_train = shifted(x_train, y_train)
    print(f"{len(x_train)} images to train with, {len(x_test)} to test with", flush=True)

    features = make_pipeline(StandardScaler(), Nystroem(gamma=0.01, n_components=args.components, random_state=0))
    f_train, f_test = features.fit_transform(x_train), features.transform(x_test)
    classifier = LogisticRegression(C=args.C, solver="saga", max_iter=1, warm_start=True, random_state=0)
    for epoch in range(1, args.epochs + 1):
        classifier.fit(f_train, y_train)
        loss = log_loss(y_train, classifier.predict_proba(f_train))
        accuracy = classifier.score(f_test, y_test)
        print(f"epoch={epoch} train:loss={loss:.4f} validation:accuracy={accuracy:.4f}", flush=True)

    joblib.dump(make_pipeline(features, classifier), os.path.join(args.model_dir, "model.joblib"))


if __name__ == "__main__":
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    # One iteration a call never converges; the loop above does.
    warnings.simplefilter("ignore", ConvergenceWarning)
    main()
