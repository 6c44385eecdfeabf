"""Fetches a digits model that a training job made and predicts with it.

    python predict.py s3://bucket/job/output/model.tar.gz [folder]
"""

import io
import os
import sys
import tarfile
import tempfile
from urllib.parse import urlparse

import boto3
import joblib
from sklearn.datasets import load_digits


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    where = urlparse(sys.argv[1])
    folder = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()

    archive = os.path.join(folder, "model.tar.gz")
    boto3.client("s3").download_file(where.netloc, where.path.lstrip("/"), archive)
    with tarfile.open(archive) as tar:
        model = joblib.load(io.BytesIO(tar.extractfile("model.joblib").read()))

    images, labels = load_digits(return_X_y=True)
    for row in images[3].reshape(8, 8):
        print("   " + "".join(" .:-=+*#%@"[min(9, int(v * 9 / 16))] * 2 for v in row))
    print(f"labels:      {' '.join(map(str, labels[:20]))}")
    print(f"predictions: {' '.join(map(str, model.predict(images[:20])))}")
    print(f"accuracy on all {len(images)} images: {model.score(images, labels):.3f}")


if __name__ == "__main__":
    main()
