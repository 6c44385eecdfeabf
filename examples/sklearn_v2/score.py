"""Scores all images in one batch with a model that run.py trained: a batch
transform job needs no endpoint, and ends by itself.

    python score.py s3://bucket/job/output/model.tar.gz
"""

import os
import sys

import pandas as pd
import sagemaker
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.sklearn import SKLearnModel
from sklearn.datasets import load_digits

ROLE = os.environ.get("SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/SageMakerExecutionRole")
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    session = sagemaker.Session()
    images, labels = load_digits(return_X_y=True)
    rows = pd.DataFrame(images.astype(int))
    rows.insert(0, "label", labels)
    name = sagemaker.utils.name_from_base("digits-score")
    data = f"s3://{session.default_bucket()}/{name}"
    S3Uploader.upload_string_as_file_body(rows.to_csv(header=False, index=False), f"{data}/in/digits.csv", sagemaker_session=session)

    model = SKLearnModel(
        model_data=sys.argv[1],
        entry_point="train.py",
        source_dir=HERE,
        framework_version="1.2-1",
        role=ROLE,
        sagemaker_session=session,
        name=name,
    )
    transformer = model.transformer(
        instance_count=1, instance_type="ml.m5.large", output_path=f"{data}/out", accept="text/csv", assemble_with="Line"
    )
    transformer.transform(
        f"{data}/in",
        content_type="text/csv",
        split_type="Line",
        input_filter="$[1:]",  # not the label
        join_source="Input",
        output_filter="$[0,-1]",  # the label, and what was predicted
        job_name=name,
        wait=False,
    )
    session.wait_for_transform_job(name, poll=1)  # transform would look every 30 seconds
    print(f"transform job: {name}")
    scored = S3Downloader.read_file(f"{data}/out/digits.csv.out", sagemaker_session=session)
    right = [a == b for a, b in (map(float, line.split(",")) for line in scored.splitlines())]
    print(f"accuracy on all {len(right)} images: {sum(right) / len(right):.3f}")
    transformer.delete_model()


if __name__ == "__main__":
    main()
