"""SageMaker Python SDK v2: script mode with the scikit-learn estimator."""

import os
import sys
import tempfile

import sagemaker
from sagemaker.sklearn import SKLearn
from sklearn.datasets import load_digits

ROLE = os.environ.get("SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/SageMakerExecutionRole")
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    session = sagemaker.Session()

    images, labels = load_digits(return_X_y=True, as_frame=True)
    with tempfile.TemporaryDirectory() as folder:
        csv = os.path.join(folder, "digits.csv")
        images.assign(label=labels).to_csv(csv, index=False)
        train = session.upload_data(csv, key_prefix="digits/train")
    print(f"training data: {train}")

    estimator = SKLearn(
        entry_point="train.py",
        source_dir=HERE,
        framework_version="1.2-1",
        instance_type="ml.m5.large",
        instance_count=1,
        role=ROLE,
        sagemaker_session=session,
        base_job_name="digits-sklearn",
        hyperparameters={"epochs": int(sys.argv[1]) if len(sys.argv) > 1 else 20, "C": 10.0},
        metric_definitions=[
            {"Name": "train:loss", "Regex": r"train:loss=([0-9.]+)"},
            {"Name": "validation:accuracy", "Regex": r"validation:accuracy=([0-9.]+)"},
        ],
    )
    estimator.fit({"train": train})

    print(f"job: {estimator.latest_training_job.name}")
    print(f"model: {estimator.model_data}")


if __name__ == "__main__":
    main()
