"""Deploys a model that run.py trained to an endpoint, asks that, and deletes it.

    python deploy.py s3://bucket/job/output/model.tar.gz
"""

import os
import sys
import time

import sagemaker
from sagemaker.sklearn import SKLearnModel
from sklearn.datasets import load_digits

ROLE = os.environ.get("SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/SageMakerExecutionRole")
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    session = sagemaker.Session()
    model = SKLearnModel(
        model_data=sys.argv[1],
        entry_point="train.py",
        source_dir=HERE,
        framework_version="1.2-1",
        role=ROLE,
        sagemaker_session=session,
        name=sagemaker.utils.name_from_base("digits-sklearn"),
    )
    predictor = model.deploy(initial_instance_count=1, instance_type="ml.m5.large", wait=False)
    try:
        session.wait_for_endpoint(predictor.endpoint_name, poll=1)  # deploy would look every 30 seconds
        print(f"\nendpoint: {predictor.endpoint_name}")

        images, labels = load_digits(return_X_y=True)
        for row in images[3].reshape(8, 8):
            print("   " + "".join(" .:-=+*#%@"[min(9, int(v * 9 / 16))] * 2 for v in row))
        began = time.monotonic()
        one = [int(predictor.predict(image.reshape(1, -1))[0]) for image in images[:20]]
        took = time.monotonic() - began
        print(f"labels:      {' '.join(map(str, labels[:20]))}")
        print(f"predictions: {' '.join(map(str, one))}")
        print(f"{len(one)} requests, {took / len(one) * 1000:.1f} ms each")
        print(f"accuracy on all {len(images)} images: {(predictor.predict(images) == labels).mean():.3f}")
    finally:
        predictor.delete_model()
        predictor.delete_endpoint()  # and its configuration: it would cost until then
    session.sagemaker_client.get_waiter("endpoint_deleted").wait(EndpointName=predictor.endpoint_name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    print(f"deleted: {predictor.endpoint_name}, its configuration and its model")


if __name__ == "__main__":
    main()
