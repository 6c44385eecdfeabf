"""SageMaker Python SDK v3: ModelTrainer with source code of one's own."""

import os
import tempfile

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.core.utils.utils import configure_logging
from sagemaker.train import ModelTrainer
from sklearn.datasets import load_breast_cancer

ROLE = os.environ.get("SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/SageMakerExecutionRole")
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    configure_logging("INFO")  # the job's log, live
    session = Session()

    data = load_breast_cancer(as_frame=True)
    with tempfile.TemporaryDirectory() as folder:
        csv = os.path.join(folder, "tumours.csv")
        data.frame.to_csv(csv, index=False)
        train = session.upload_data(csv, key_prefix="tumours/train")
    print(f"training data: {train}")

    trainer = ModelTrainer(
        training_image=image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1"),
        source_code=SourceCode(source_dir=os.path.join(HERE, "src"), entry_script="train.py"),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        hyperparameters={"C": 0.5},
        role=ROLE,
        sagemaker_session=session,
        base_job_name="tumours-modeltrainer",
    )
    trainer.train(input_data_config=[InputData(channel_name="train", data_source=train)])

    job = trainer._latest_training_job.refresh()
    print(f"job: {job.training_job_name}")
    print(f"model: {job.model_artifacts.s3_model_artifacts}")


if __name__ == "__main__":
    main()
