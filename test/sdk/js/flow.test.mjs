// Flows of the AWS SDK for JavaScript. test/sdk runs them with `clary run` and
// Node's own test runner, against a server.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { AwsJson1_0Protocol, AwsQueryProtocol, AwsSmithyRpcV2CborProtocol } from "@aws-sdk/core/protocols";
import {
  CloudWatchClient,
  GetMetricDataCommand,
  GetMetricStatisticsCommand,
  InvalidParameterCombinationException,
  InvalidParameterValueException,
  PutMetricDataCommand,
  paginateListMetrics,
} from "@aws-sdk/client-cloudwatch";
import {
  CloudWatchLogsClient,
  GetLogEventsCommand,
  ResourceNotFoundException,
  paginateDescribeLogStreams,
  paginateFilterLogEvents,
} from "@aws-sdk/client-cloudwatch-logs";
import {
  CreateBucketCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  NoSuchBucket,
  NoSuchKey,
  NotFound,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import {
  AddTagsCommand,
  CreateEndpointCommand,
  CreateEndpointConfigCommand,
  CreateModelCommand,
  CreateTrainingJobCommand,
  CreateTransformJobCommand,
  DeleteEndpointCommand,
  DescribeTrainingJobCommand,
  DescribeTransformJobCommand,
  ListHubsCommand,
  ResourceInUse,
  ResourceLimitExceeded,
  SageMakerClient,
  StopTrainingJobCommand,
  StopTransformJobCommand,
  paginateListTags,
  paginateListTrainingJobs,
  paginateListTransformJobs,
  waitUntilEndpointDeleted,
  waitUntilEndpointInService,
  waitUntilTrainingJobCompletedOrStopped,
  waitUntilTransformJobCompletedOrStopped,
} from "@aws-sdk/client-sagemaker";
import {
  InvokeEndpointCommand,
  InvokeEndpointWithResponseStreamCommand,
  ModelError,
  SageMakerRuntimeClient,
  ValidationError,
} from "@aws-sdk/client-sagemaker-runtime";
import { all, name, refused } from "./shared.mjs";

const group = "/aws/sagemaker/TrainingJobs";
const image = process.env.CLARY_TEST_IMAGE;
assert.ok(process.env.AWS_ENDPOINT_URL && image, "AWS_ENDPOINT_URL or CLARY_TEST_IMAGE is not set: run `make sdk`");

const s3 = new S3Client();
const sagemaker = new SageMakerClient();
const logs = new CloudWatchLogsClient();

async function bucket() {
  const Bucket = name();
  await s3.send(new CreateBucketCommand({ Bucket }));
  return Bucket;
}

const request = (TrainingJobName, Bucket, script) => ({
  TrainingJobName,
  RoleArn: "arn:aws:iam::123456789012:role/SageMakerRole",
  AlgorithmSpecification: {
    TrainingImage: image,
    TrainingInputMode: "File",
    ContainerEntrypoint: ["/bin/bash", "-c"],
    ContainerArguments: [script],
    MetricDefinitions: [{ Name: "loss", Regex: "loss=([0-9.]+)" }],
  },
  InputDataConfig: [{ ChannelName: "training", DataSource: { S3DataSource: { S3DataType: "S3Prefix", S3Uri: `s3://${Bucket}/in/` } } }],
  OutputDataConfig: { S3OutputPath: `s3://${Bucket}/out` },
  ResourceConfig: { InstanceType: "ml.m5.large", InstanceCount: 1, VolumeSizeInGB: 5 },
  StoppingCondition: { MaxRuntimeInSeconds: 600 },
});

const wait = (TrainingJobName) =>
  waitUntilTrainingJobCompletedOrStopped({ client: sagemaker, maxWaitTime: 240, minDelay: 1, maxDelay: 1 }, { TrainingJobName });

test("objects", async () => {
  const Bucket = await bucket();
  const body = randomBytes(3 << 20);
  for (let i = 0; i < 5; i++) {
    await s3.send(new PutObjectCommand({ Bucket, Key: `a b/${i} ü`, Body: body, Metadata: { who: "me" } }));
  }
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: "a b/3 ü", ChecksumMode: "ENABLED" }));
  assert.ok(body.equals(await got.Body.transformToByteArray()));
  assert.equal(got.Metadata.who, "me");
  assert.ok(got.ChecksumCRC32);
  const [keys, pages] = await all(paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket, Prefix: "a b/" }), "Contents");
  assert.deepEqual([keys.map((k) => k.Key), pages], [[0, 1, 2, 3, 4].map((i) => `a b/${i} ü`), 3]);
  await refused(s3, new GetObjectCommand({ Bucket, Key: "no" }), NoSuchKey);
  await refused(s3, new HeadObjectCommand({ Bucket, Key: "no" }), NotFound);
  await refused(s3, new ListObjectsV2Command({ Bucket: Bucket + "-no" }), NoSuchBucket);
});

test("a training job", async () => {
  const Bucket = await bucket();
  await s3.send(new PutObjectCommand({ Bucket, Key: "in/data.txt", Body: "some data" }));
  const TrainingJobName = name();
  const script = 'cat /opt/ml/input/data/training/data.txt; echo; for i in 3 2 1; do echo "loss=0.$i"; done; echo model > /opt/ml/model/m';
  const { TrainingJobArn } = await sagemaker.send(new CreateTrainingJobCommand(request(TrainingJobName, Bucket, script)));
  assert.ok(TrainingJobArn.endsWith(":training-job/" + TrainingJobName));
  await refused(sagemaker, new CreateTrainingJobCommand(request(TrainingJobName, Bucket, script)), ResourceInUse);
  assert.equal((await wait(TrainingJobName)).state, "SUCCESS");
  const d = await sagemaker.send(new DescribeTrainingJobCommand({ TrainingJobName }));
  assert.equal(d.TrainingJobStatus, "Completed", d.FailureReason);
  assert.ok(d.TrainingEndTime > d.TrainingStartTime && d.BillableTimeInSeconds >= 1);
  assert.deepEqual(d.FinalMetricDataList.map((m) => [m.MetricName, Math.round(m.Value * 10)]), [["loss", 1]]);
  const model = await s3.send(new GetObjectCommand({ Bucket, Key: `out/${TrainingJobName}/output/model.tar.gz` }));
  assert.ok((await model.Body.transformToByteArray()).length > 0);

  const [streams] = await all(paginateDescribeLogStreams({ client: logs }, { logGroupName: group, logStreamNamePrefix: TrainingJobName + "/" }), "logStreams");
  assert.equal(streams.length, 1);
  const text = [];
  for (let nextToken, last = ""; nextToken !== last; ) {
    last = nextToken;
    const page = await logs.send(
      new GetLogEventsCommand({ logGroupName: group, logStreamName: streams[0].logStreamName, startFromHead: true, limit: 2, nextToken }),
    );
    text.push(...page.events.map((e) => e.message).filter((m) => !m.startsWith("[clary] ")));
    nextToken = page.nextForwardToken;
  }
  assert.deepEqual(text, ["some data", "loss=0.3", "loss=0.2", "loss=0.1"]);
  const [found] = await all(
    paginateFilterLogEvents({ client: logs, pageSize: 1 }, { logGroupName: group, logStreamNamePrefix: TrainingJobName + "/", filterPattern: "loss" }),
    "events",
  );
  assert.equal(found.length, 3);
  await refused(logs, new GetLogEventsCommand({ logGroupName: "/no", logStreamName: "x" }), ResourceNotFoundException);
});

test("stop, list and tags", async () => {
  const Bucket = await bucket();
  await s3.send(new PutObjectCommand({ Bucket, Key: "in/x", Body: "x" }));
  const base = name();
  const jobs = ["a", "b", "c"].map((x) => `${base}-${x}`);
  for (const TrainingJobName of jobs) {
    await sagemaker.send(new CreateTrainingJobCommand(request(TrainingJobName, Bucket, "trap 'exit 0' TERM; sleep 300 & wait")));
    await sagemaker.send(new StopTrainingJobCommand({ TrainingJobName }));
  }
  for (const job of jobs) assert.equal((await wait(job)).state, "SUCCESS");
  const [listed, pages] = await all(
    paginateListTrainingJobs({ client: sagemaker, pageSize: 2 }, { NameContains: base, SortBy: "Name", SortOrder: "Ascending", StatusEquals: "Stopped" }),
    "TrainingJobSummaries",
  );
  assert.deepEqual([listed.map((j) => j.TrainingJobName), pages], [jobs, 2]);
  const ResourceArn = listed[0].TrainingJobArn;
  await sagemaker.send(new AddTagsCommand({ ResourceArn, Tags: [...Array(50).keys()].map((i) => ({ Key: `k${i}`, Value: "v" })) }));
  await refused(sagemaker, new AddTagsCommand({ ResourceArn, Tags: [{ Key: "more", Value: "v" }] }), ResourceLimitExceeded);
  const [tags] = await all(paginateListTags({ client: sagemaker, pageSize: 50 }, { ResourceArn }), "Tags");
  assert.equal(tags.length, 50);
  await refused(sagemaker, new DescribeTrainingJobCommand({ TrainingJobName: base + "-no" }), "ValidationException");
  await refused(sagemaker, new ListHubsCommand({}), "UnsupportedOperation");
});

// createModel makes a model of the script below m/ in a bucket.
async function createModel(Bucket) {
  const ModelName = name();
  await sagemaker.send(
    new CreateModelCommand({
      ModelName,
      ExecutionRoleArn: "arn:aws:iam::123456789012:role/SageMakerRole",
      PrimaryContainer: {
        Image: image,
        Environment: { SAGEMAKER_MODEL_SERVER_WORKERS: "1" },
        ModelDataSource: { S3DataSource: { S3Uri: `s3://${Bucket}/m/`, S3DataType: "S3Prefix", CompressionType: "None" } },
      },
    }),
  );
  return ModelName;
}

test("an endpoint", async () => {
  const runtime = new SageMakerRuntimeClient();
  const Bucket = await bucket();
  const script = "def model_fn(folder):\n    return 6\n\ndef transform_fn(model, content, kind, accept):\n    return str(model / int(content)), 'text/plain'\n";
  await s3.send(new PutObjectCommand({ Bucket, Key: "m/code/inference.py", Body: script }));
  const ModelName = await createModel(Bucket);
  const [EndpointConfigName, EndpointName] = [ModelName, ModelName];
  const ProductionVariants = [{ VariantName: "one", ModelName, InstanceType: "ml.m5.large", InitialInstanceCount: 1 }];
  await sagemaker.send(new CreateEndpointConfigCommand({ EndpointConfigName, ProductionVariants }));
  await sagemaker.send(new CreateEndpointCommand({ EndpointName, EndpointConfigName }));
  const patience = { client: sagemaker, maxWaitTime: 240, minDelay: 1, maxDelay: 1 };
  await waitUntilEndpointInService(patience, { EndpointName });

  const ask = (Body) => ({ EndpointName, Body, ContentType: "text/csv" });
  const answer = await runtime.send(new InvokeEndpointCommand(ask("2")));
  assert.deepEqual([answer.Body.transformToString(), answer.ContentType, answer.InvokedProductionVariant], ["3.0", "text/plain", "one"]);
  await refused(runtime, new InvokeEndpointCommand(ask("0")), ModelError);
  await refused(runtime, new InvokeEndpointCommand({ ...ask("2"), EndpointName: EndpointName + "-no" }), ValidationError);
  const stream = await runtime.send(new InvokeEndpointWithResponseStreamCommand(ask("4")));
  let text = "";
  for await (const event of stream.Body) text += new TextDecoder().decode(event.PayloadPart.Bytes);
  assert.equal(text, "1.5");
  await sagemaker.send(new DeleteEndpointCommand({ EndpointName }));
  await waitUntilEndpointDeleted(patience, { EndpointName });
});

test("a transform job", async () => {
  const Bucket = await bucket();
  const script = `
def model_fn(folder):
    return 6

def transform_fn(model, content, kind, accept):
    return "".join(f"{model / int(row):g}\\n" for row in content.splitlines()), accept
`;
  await s3.send(new PutObjectCommand({ Bucket, Key: "m/code/inference.py", Body: script }));
  await s3.send(new PutObjectCommand({ Bucket, Key: "in/a.csv", Body: "x,1\ny,4\n" }));
  await s3.send(new PutObjectCommand({ Bucket, Key: "bad/a.csv", Body: "x,0\n" }));
  const ModelName = await createModel(Bucket);
  const base = name();
  const ask = (TransformJobName, prefix) => ({
    TransformJobName,
    ModelName,
    BatchStrategy: "MultiRecord",
    TransformInput: {
      DataSource: { S3DataSource: { S3DataType: "S3Prefix", S3Uri: `s3://${Bucket}/${prefix}` } },
      ContentType: "text/csv",
      SplitType: "Line",
    },
    TransformOutput: { S3OutputPath: `s3://${Bucket}/out/${TransformJobName}`, Accept: "text/csv", AssembleWith: "Line" },
    TransformResources: { InstanceType: "ml.m5.large", InstanceCount: 1 },
    DataProcessing: { InputFilter: "$[1:]", JoinSource: "Input" },
  });
  const [good, bad, stopped] = ["good", "bad", "stopped"].map((x) => `${base}-${x}`);
  const { TransformJobArn } = await sagemaker.send(new CreateTransformJobCommand(ask(good, "in/")));
  assert.ok(TransformJobArn.endsWith(":transform-job/" + good));
  await refused(sagemaker, new CreateTransformJobCommand(ask(good, "in/")), ResourceInUse);
  await sagemaker.send(new CreateTransformJobCommand(ask(bad, "bad/")));
  await sagemaker.send(new CreateTransformJobCommand(ask(stopped, "in/")));
  await sagemaker.send(new StopTransformJobCommand({ TransformJobName: stopped }));
  const patience = { client: sagemaker, maxWaitTime: 240, minDelay: 1, maxDelay: 1 };
  const over = (TransformJobName) => waitUntilTransformJobCompletedOrStopped(patience, { TransformJobName });
  assert.equal((await over(good)).state, "SUCCESS");
  const d = await sagemaker.send(new DescribeTransformJobCommand({ TransformJobName: good }));
  assert.ok(d.TransformJobStatus === "Completed" && d.TransformEndTime > d.TransformStartTime, d.FailureReason);
  const out = await s3.send(new GetObjectCommand({ Bucket, Key: `out/${good}/a.csv.out` }));
  assert.equal(await out.Body.transformToString(), "x,1,6\ny,4,1.5\n");
  await assert.rejects(over(bad), /Failed/);
  const { FailureReason } = await sagemaker.send(new DescribeTransformJobCommand({ TransformJobName: bad }));
  assert.ok(FailureReason.startsWith("AlgorithmError: "), FailureReason);
  await over(stopped);
  const [listed, pages] = await all(
    paginateListTransformJobs({ client: sagemaker, pageSize: 2 }, { NameContains: base, SortBy: "Name", SortOrder: "Ascending" }),
    "TransformJobSummaries",
  );
  assert.deepEqual([listed.map((j) => [j.TransformJobName, j.TransformJobStatus]), pages], [[[bad, "Failed"], [good, "Completed"], [stopped, "Stopped"]], 2]);
  await refused(sagemaker, new StopTransformJobCommand({ TransformJobName: good }), "ValidationException");
  await refused(sagemaker, new DescribeTransformJobCommand({ TransformJobName: base + "-no" }), "ValidationException");
});

// The SDK speaks one of these by itself and can be told to speak the others.
for (const protocol of [undefined, AwsJson1_0Protocol, AwsQueryProtocol, AwsSmithyRpcV2CborProtocol]) {
  test(`metrics, ${protocol?.name ?? "as the SDK chooses"}`, async () => {
    const cloudwatch = new CloudWatchClient({
      ...(protocol && { protocol }),
      // told to speak CBOR, this SDK announces a compressed body by its length before
      disableRequestCompression: protocol === AwsSmithyRpcV2CborProtocol,
    });
    const Namespace = name();
    const at = new Date(Math.floor(Date.now() / 60000 - 5) * 60000);
    const end = new Date(at.getTime() + 3600_000);
    const Dimensions = [{ Name: "Job", Value: "ü" }];
    const MetricData = [...Array(600).keys()].map((i) => ({
      MetricName: `m${i}`, Dimensions, Timestamp: new Date(at.getTime() + 1500), Value: i + 0.5, Unit: "Seconds",
    }));
    await cloudwatch.send(new PutMetricDataCommand({ Namespace, MetricData }));
    const s = await cloudwatch.send(
      new GetMetricStatisticsCommand({
        Namespace, MetricName: "m7", Dimensions, Period: 60, StartTime: at, EndTime: end, Statistics: ["Average", "SampleCount"],
      }),
    );
    assert.deepEqual(s.Datapoints.map((p) => ({ ...p })), [{ Timestamp: at, Average: 7.5, SampleCount: 1, Unit: "Seconds" }]);
    const g = await cloudwatch.send(
      new GetMetricDataCommand({
        StartTime: at, EndTime: end,
        MetricDataQueries: [{ Id: "q", MetricStat: { Stat: "Maximum", Period: 60, Metric: { Namespace, MetricName: "m599", Dimensions } } }],
      }),
    );
    assert.deepEqual([g.MetricDataResults[0].Values, g.MetricDataResults[0].Timestamps], [[599.5], [at]]);
    const [metrics, pages] = await all(paginateListMetrics({ client: cloudwatch }, { Namespace }), "Metrics");
    assert.deepEqual([new Set(metrics.map((m) => m.MetricName)).size, pages], [600, 2]);
    await refused(cloudwatch, new PutMetricDataCommand({ Namespace: "AWS/Mine", MetricData: MetricData.slice(0, 1) }), InvalidParameterValueException);
    const both = { ...MetricData[0], Values: [1] };
    await refused(cloudwatch, new PutMetricDataCommand({ Namespace, MetricData: [both] }), InvalidParameterCombinationException);
  });
}
