"""SageMaker Python SDK v3: the jobs of run.py, on the same data and scripts.

    python run_v3.py [folder for the report]
"""

import os
import sys
import tempfile

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.processing import FrameworkProcessor
from sagemaker.core.s3 import S3Downloader
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.core.utils.utils import configure_logging
from sagemaker.train import ModelTrainer

ROLE = os.environ.get("SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/SageMakerExecutionRole")
HERE = os.path.dirname(os.path.abspath(__file__))
BASE = "/opt/ml/processing"


def main():
    configure_logging("INFO")  # the training job's log, live
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    session = Session()
    image = image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1")
    raw = session.upload_data(os.path.join(HERE, "penguins-raw.csv"), key_prefix="penguins/raw")
    prefix = raw.replace("raw/penguins-raw.csv", "clean")

    def output(name):
        s3 = ProcessingS3Output(s3_uri=f"{prefix}/{name}", local_path=f"{BASE}/output/{name}", s3_upload_mode="EndOfJob")
        return ProcessingOutput(output_name=name, s3_output=s3)

    processor = FrameworkProcessor(
        image_uri=image, instance_type="ml.m5.large", instance_count=1, role=ROLE, sagemaker_session=session, base_job_name="penguins-clean"
    )
    processor.run(
        code="clean.py",
        source_dir=os.path.join(HERE, "clean"),
        inputs=[
            ProcessingInput(
                input_name="raw",
                s3_input=ProcessingS3Input(s3_uri=raw, local_path=f"{BASE}/input/raw", s3_data_type="S3Prefix", s3_input_mode="File"),
            )
        ],
        outputs=[output("train"), output("test"), output("report")],
        arguments=["--test-share", "0.25"],
    )
    job = processor.latest_job.refresh()
    S3Downloader.download(f"{prefix}/report", folder, sagemaker_session=session)
    print(f"processing job: {job.processing_job_name}: {job.exit_message}")
    print(f"plot: {os.path.join(folder, 'penguins.png')}")

    trainer = ModelTrainer(
        training_image=image,
        source_code=SourceCode(source_dir=os.path.join(HERE, "train"), entry_script="train.py"),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        role=ROLE,
        sagemaker_session=session,
        base_job_name="penguins-train",
    )
    trainer.train(input_data_config=[InputData(channel_name=name, data_source=f"{prefix}/{name}") for name in ("train", "test")])
    job = trainer._latest_training_job.refresh()
    print(f"training job: {job.training_job_name}")
    print(f"model: {job.model_artifacts.s3_model_artifacts}")


if __name__ == "__main__":
    main()
