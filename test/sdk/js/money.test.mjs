// What is spent and who is told, by the AWS SDK for JavaScript.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import {
  BudgetsClient,
  CreateBudgetCommand,
  DeleteBudgetCommand,
  DescribeBudgetCommand,
  DuplicateRecordException,
  InvalidParameterException,
  NotFoundException as NoBudget,
  paginateDescribeBudgets,
} from "@aws-sdk/client-budgets";
import {
  CloudWatchClient,
  DeleteAlarmsCommand,
  DescribeAlarmHistoryCommand,
  PutMetricAlarmCommand,
  ResourceNotFound,
  SetAlarmStateCommand,
  paginateDescribeAlarms,
} from "@aws-sdk/client-cloudwatch";
import { CostExplorerClient, GetCostAndUsageCommand, GetDimensionValuesCommand } from "@aws-sdk/client-cost-explorer";
import {
  ConfirmSubscriptionCommand,
  CreateTopicCommand,
  DeleteTopicCommand,
  InvalidParameterException as InvalidParameter,
  NotFoundException as NoTopic,
  PublishCommand,
  SNSClient,
  SubscribeCommand,
  paginateListSubscriptionsByTopic,
} from "@aws-sdk/client-sns";
import { all, name, refused } from "./shared.mjs";

const AccountId = "123456789012";
const day = (offset) => new Date(Date.now() + offset * 86400e3).toISOString().slice(0, 10);

test("what was spent", async () => {
  const ce = new CostExplorerClient();
  const TimePeriod = { Start: day(-1), End: day(1) };
  const ask = { TimePeriod, Granularity: "DAILY", Metrics: ["UnblendedCost", "UsageQuantity"] };
  const whole = await ce.send(new GetCostAndUsageCommand(ask));
  assert.deepEqual(
    whole.ResultsByTime.map((r) => [r.TimePeriod.Start, r.Total.UnblendedCost.Unit.slice(0, 3)]), // other regions have no prices
    [[day(-1), "USD"], [day(0), "USD"]],
  );
  const grouped = await ce.send(new GetCostAndUsageCommand({ ...ask, GroupBy: [{ Type: "DIMENSION", Key: "USAGE_TYPE" }] }));
  assert.ok(grouped.ResultsByTime.every((r) => r.Groups.every((g) => Number(g.Metrics.UnblendedCost.Amount) >= 0)));
  const services = await ce.send(new GetDimensionValuesCommand({ TimePeriod, Dimension: "SERVICE" }));
  assert.ok(services.DimensionValues.every((v) => v.Value === "Amazon SageMaker"));
  await refused(ce, new GetCostAndUsageCommand({ ...ask, TimePeriod: { Start: day(0), End: day(0) } }), "ValidationException");
});

test("a budget", async () => {
  const budgets = new BudgetsClient();
  const BudgetName = name();
  const Budget = { BudgetName, BudgetLimit: { Amount: "100000", Unit: "USD" }, TimeUnit: "MONTHLY", BudgetType: "COST" };
  const Notification = { NotificationType: "ACTUAL", ComparisonOperator: "GREATER_THAN", Threshold: 80 };
  const Subscribers = [{ SubscriptionType: "EMAIL", Address: "me@example.com" }];
  const create = (more) =>
    new CreateBudgetCommand({ AccountId, Budget: { ...Budget, ...more }, NotificationsWithSubscribers: [{ Notification, Subscribers }] });
  await refused(budgets, create({ BudgetLimit: { Amount: "1", Unit: "EUR" } }), InvalidParameterException);
  await budgets.send(create());
  await refused(budgets, create(), DuplicateRecordException);
  const d = (await budgets.send(new DescribeBudgetCommand({ AccountId, BudgetName }))).Budget;
  assert.ok(d.TimePeriod.Start instanceof Date && Number(d.CalculatedSpend.ActualSpend.Amount) >= 0);
  const [found] = await all(paginateDescribeBudgets({ client: budgets, pageSize: 1 }, { AccountId }), "Budgets");
  assert.ok(found.some((b) => b.BudgetName === BudgetName));
  await budgets.send(new DeleteBudgetCommand({ AccountId, BudgetName }));
  await refused(budgets, new DescribeBudgetCommand({ AccountId, BudgetName }), NoBudget);
});

test("an alarm tells a topic", async () => {
  const sns = new SNSClient();
  const cloudwatch = new CloudWatchClient();
  const posted = [];
  let arrived = () => {};
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (piece) => (body += piece));
    request.on("end", () => {
      posted.push(JSON.parse(body));
      response.end();
      arrived();
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const message = async (Type) => {
    for (;;) {
      const found = posted.find((m) => m.Type === Type);
      if (found) return found;
      await new Promise((resolve) => (arrived = resolve));
    }
  };
  const { TopicArn } = await sns.send(new CreateTopicCommand({ Name: name() }));
  try {
    await sns.send(new SubscribeCommand({ TopicArn, Protocol: "http", Endpoint: `http://127.0.0.1:${server.address().port}/` }));
    const { Token } = await message("SubscriptionConfirmation");
    const { SubscriptionArn } = await sns.send(new ConfirmSubscriptionCommand({ TopicArn, Token }));
    const [subscriptions] = await all(paginateListSubscriptionsByTopic({ client: sns }, { TopicArn }), "Subscriptions");
    assert.deepEqual(subscriptions.map((s) => s.SubscriptionArn), [SubscriptionArn]);
    await refused(sns, new PublishCommand({ TopicArn, Message: "" }), InvalidParameter);
    await refused(sns, new PublishCommand({ TopicArn: TopicArn + "-no", Message: "x" }), NoTopic);

    const AlarmName = name();
    const alarm = { Namespace: AlarmName, MetricName: "m", Statistic: "Sum", Period: 60, EvaluationPeriods: 1, Threshold: 1, TreatMissingData: "ignore" };
    await cloudwatch.send(
      new PutMetricAlarmCommand({ AlarmName, ...alarm, ComparisonOperator: "GreaterThanThreshold", AlarmActions: [TopicArn] }),
    );
    await cloudwatch.send(new SetAlarmStateCommand({ AlarmName, StateValue: "ALARM", StateReason: "a test" }));
    const told = JSON.parse((await message("Notification")).Message);
    assert.deepEqual([told.AlarmName, told.NewStateValue, told.NewStateReason], [AlarmName, "ALARM", "a test"]);
    const [alarms] = await all(paginateDescribeAlarms({ client: cloudwatch }, { AlarmNamePrefix: AlarmName, StateValue: "ALARM" }), "MetricAlarms");
    assert.ok(alarms.length === 1 && alarms[0].StateUpdatedTimestamp instanceof Date);
    const history = await cloudwatch.send(new DescribeAlarmHistoryCommand({ AlarmName, HistoryItemType: "StateUpdate" }));
    assert.equal(history.AlarmHistoryItems[0].HistorySummary, "Alarm updated from INSUFFICIENT_DATA to ALARM");
    await cloudwatch.send(new DeleteAlarmsCommand({ AlarmNames: [AlarmName] }));
    await refused(cloudwatch, new SetAlarmStateCommand({ AlarmName, StateValue: "OK", StateReason: "gone" }), ResourceNotFound);
  } finally {
    server.close();
    server.closeAllConnections?.();
    await sns.send(new DeleteTopicCommand({ TopicArn }));
  }
});
