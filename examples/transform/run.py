"""SageMaker Python SDK v2: learns how late planes land, and says so of thousands
of flights in one batch.

    python run.py [folder for the plot]

The data is real, README.md says whose. A training job learns from three weeks of
it. A batch transform job then scores the days that follow, an object for each
day: no endpoint, nothing to delete in the end but the model.
"""

import os
import sys
import tempfile

import pandas as pd
import sagemaker
from sagemaker.s3 import S3Downloader
from sagemaker.sklearn import SKLearn

ROLE = os.environ.get("SAGEMAKER_ROLE", "arn:aws:iam::123456789012:role/SageMakerExecutionRole")
HERE = os.path.dirname(os.path.abspath(__file__))
LEARN_UNTIL = "2013-09-21"


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    session = sagemaker.Session()
    prefix = f"s3://{session.default_bucket()}/{sagemaker.utils.name_from_base('flights')}"

    flights = pd.read_csv(os.path.join(HERE, "flights.csv.gz"))
    past = flights["date"] <= LEARN_UNTIL
    flights[past].to_csv(os.path.join(folder, "flights.csv"), index=False)
    train = upload(session, os.path.join(folder, "flights.csv"), f"{prefix}/train")
    for day, rows in flights[~past].groupby("date"):
        path = os.path.join(folder, f"{day}.csv")
        rows.to_csv(path, index=False, header=False)  # each line is a record, so there is no header
        upload(session, path, f"{prefix}/score")

    estimator = SKLearn(
        entry_point="flights.py",
        source_dir=os.path.join(HERE, "src"),
        framework_version="1.2-1",
        instance_type="ml.m5.large",
        instance_count=1,
        role=ROLE,
        sagemaker_session=session,
        base_job_name="flights",
    )
    estimator.fit({"train": train})
    print(f"model: {estimator.model_data}")

    transformer = estimator.transformer(
        instance_count=2,  # the days are shared out among them
        instance_type="ml.m5.large",
        output_path=f"{prefix}/scored",
        accept="text/csv",
        strategy="MultiRecord",  # as many rows in a request as max_payload takes
        max_payload=1,
        assemble_with="Line",
    )
    transformer.transform(
        f"{prefix}/score/",
        content_type="text/csv",
        split_type="Line",
        input_filter="$[3:8]",  # the model sees neither who flies nor when the plane landed
        join_source="Input",  # its answer becomes the last column of the row
    )
    print(f"\ntransform job: {transformer.latest_transform_job.name}")

    S3Downloader.download(transformer.output_path, folder, sagemaker_session=session)
    names = [*flights.columns, "predicted"]
    outs = sorted(f for f in os.listdir(folder) if f.endswith(".csv.out"))
    scored = pd.concat(pd.read_csv(os.path.join(folder, f), header=None, names=names) for f in outs)
    error = (scored["predicted"] - scored["arr_delay"]).abs().mean()
    guess = (scored["dep_delay"] - scored["arr_delay"]).abs().mean()
    print(f"scored: {len(scored)} flights of {len(outs)} days")
    print(f"error: {error:.1f} minutes on average ({guess:.1f} if planes landed as late as they left)")
    print(f"plot: {plot(scored, os.path.join(folder, 'flights.png'))}")
    transformer.delete_model()


def upload(session, path, uri):
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return session.upload_data(path, bucket=bucket, key_prefix=prefix)


def plot(scored, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", width_ratios=(3, 4))
    shown = scored[scored[["predicted", "arr_delay"]].abs().max(axis=1) < 120]
    cells = left.hexbin(shown["predicted"], shown["arr_delay"], gridsize=45, bins="log", cmap="Greens", mincnt=1, linewidths=0.2)
    left.axline((0, 0), slope=1, color="#9aa5b1", linewidth=1)
    left.set(title=f"{len(scored):,} flights", xlabel="predicted delay (minutes)", ylabel="delay (minutes)")
    fig.colorbar(cells, ax=left, label="flights")
    days = scored.groupby("date")[["arr_delay", "predicted"]].mean()
    right.plot(range(len(days)), days["arr_delay"], "o-", color="#1b9e77", label="as they landed")
    right.plot(range(len(days)), days["predicted"], "o--", color="#d95f02", label="as predicted at take-off")
    right.set(title="Mean delay of each day", ylabel="minutes")
    right.tick_params(axis="x", labelrotation=40)
    right.set_xticks(range(len(days)), [day[5:] for day in days.index])
    right.legend(frameon=False)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    fig.savefig(path, dpi=110)
    return path


if __name__ == "__main__":
    main()
