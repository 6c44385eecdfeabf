"""SageMaker Python SDK v2: trains a classifier of wines, deploys it to an
endpoint, asks that, and deletes it.

    python run.py
"""

import os
import tempfile

import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.serializers import CSVSerializer
from sagemaker.sklearn import SKLearn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

ROLE = os.environ.get("SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/SageMakerExecutionRole")
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    session = sagemaker.Session()

    wines = load_wine(as_frame=True).frame  # 178 wines of three growers, by their chemistry
    train, test = train_test_split(wines, test_size=0.25, random_state=0, stratify=wines["target"])
    with tempfile.TemporaryDirectory() as folder:
        csv = os.path.join(folder, "wines.csv")
        train.to_csv(csv, index=False)
        data = session.upload_data(csv, key_prefix="wines/train")
    print(f"training data: {data}")

    estimator = SKLearn(
        entry_point="wine.py",
        source_dir=os.path.join(HERE, "src"),
        framework_version="1.2-1",
        instance_type="ml.m5.large",
        instance_count=1,
        role=ROLE,
        sagemaker_session=session,
        base_job_name="wines",
    )
    estimator.fit({"train": data})
    print(f"model: {estimator.model_data}")

    predictor = estimator.deploy(
        initial_instance_count=1,
        instance_type="ml.m5.large",
        serializer=CSVSerializer(),
        deserializer=JSONDeserializer(),
        wait=False,
    )
    try:
        session.wait_for_endpoint(predictor.endpoint_name, poll=1)  # deploy would look every 30 seconds
        print(f"\nendpoint: {predictor.endpoint_name}")
        answer = predictor.predict(test.drop(columns="target").to_numpy())
        right = sum(a["grower"] == grower for a, grower in zip(answer, test["target"], strict=True))
        print(f"a wine: {answer[0]}")
        print(f"right: {right} of {len(test)} wines that it has not seen")
    finally:
        predictor.delete_model()
        predictor.delete_endpoint()  # and its configuration: it would cost until then
    print("deleted")


if __name__ == "__main__":
    main()
