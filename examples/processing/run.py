"""SageMaker Python SDK v2: a processing job cleans data, a training job learns from it.

    python run.py [folder for the report]

The data is a field study of 344 penguins near Palmer Station, Antarctica, with
the gaps that it has: birds that could not be measured, blood samples that told
nothing. It is free for any use (CC0). Gorman, Williams, Fraser (2014): Ecological
Sexual Dimorphism and Environmental Variability within a Community of Antarctic
Penguins, https://doi.org/10.1371/journal.pone.0090081
"""

import os
import sys
import tempfile

import sagemaker
from sagemaker.processing import FrameworkProcessor, ProcessingInput, ProcessingOutput
from sagemaker.s3 import S3Downloader
from sagemaker.sklearn import SKLearn

ROLE = os.environ.get("SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/SageMakerExecutionRole")
HERE = os.path.dirname(os.path.abspath(__file__))
BASE = "/opt/ml/processing"


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    session = sagemaker.Session()
    raw = session.upload_data(os.path.join(HERE, "penguins-raw.csv"), key_prefix="penguins/raw")
    print(f"raw data: {raw}")

    processor = FrameworkProcessor(  # as SKLearnProcessor, with a requirements.txt
        estimator_cls=SKLearn,
        framework_version="1.2-1",
        instance_type="ml.m5.large",
        instance_count=1,
        role=ROLE,
        sagemaker_session=session,
        base_job_name="penguins-clean",
    )
    processor.run(
        code="clean.py",
        source_dir=os.path.join(HERE, "clean"),
        inputs=[ProcessingInput(source=raw, destination=f"{BASE}/input/raw")],
        outputs=[ProcessingOutput(source=f"{BASE}/output/{name}", output_name=name) for name in ("train", "test", "report")],
        arguments=["--test-share", "0.25"],
    )
    job = processor.latest_job
    made = {output.output_name: output.destination for output in job.outputs}
    S3Downloader.download(made["report"], folder, sagemaker_session=session)
    print(f"processing job: {job.job_name}: {job.describe()['ExitMessage']}")
    print(f"plot: {os.path.join(folder, 'penguins.png')}")

    estimator = SKLearn(
        entry_point="train.py",
        source_dir=os.path.join(HERE, "train"),
        framework_version="1.2-1",
        instance_type="ml.m5.large",
        instance_count=1,
        role=ROLE,
        sagemaker_session=session,
        base_job_name="penguins-train",
        metric_definitions=[{"Name": "test:accuracy", "Regex": r"test:accuracy=([0-9.]+)"}],
    )
    estimator.fit({"train": made["train"], "test": made["test"]})
    print(f"training job: {estimator.latest_training_job.name}")
    print(f"model: {estimator.model_data}")


if __name__ == "__main__":
    main()
