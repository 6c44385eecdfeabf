"""boto3: topics, subscriptions and messages of SNS, with receivers that look at signatures."""

import json

import boto3
import pytest
from alerts import ACCOUNT, Receiver, address, letter, letters, links, text, visit
from botocore.exceptions import ClientError
from helpers import name

PENDING = "PendingConfirmation"
ARN = f"arn:aws:sns:us-east-1:{ACCOUNT}:"


@pytest.fixture(scope="module")
def sns():
    return boto3.client("sns")


@pytest.fixture
def topic(sns):
    arn = sns.create_topic(Name=name("topic"))["TopicArn"]
    yield arn
    sns.delete_topic(TopicArn=arn)


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.close()


def refused(call, code, text, **args):
    with pytest.raises(ClientError) as failed:
        call(**args)
    e = failed.value.response["Error"]
    assert (e["Code"], text in e["Message"]) == (code, True), e


def subscriptions(sns, topic):
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    return {s["Endpoint"]: s for p in pages for s in p["Subscriptions"]}


def test_topics(sns):
    n = name("topic")
    arn = sns.create_topic(Name=n, Attributes={"DisplayName": "alerts"}, Tags=[{"Key": "team", "Value": "red"}])["TopicArn"]
    assert arn == ARN + n
    assert sns.create_topic(Name=n)["TopicArn"] == arn  # one that is there is given back
    refused(sns.create_topic, "InvalidParameter", "Topic already exists with different attributes", Name=n, Attributes={"DisplayName": "other"})
    assert arn in [t["TopicArn"] for p in sns.get_paginator("list_topics").paginate() for t in p["Topics"]]
    a = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (a["TopicArn"], a["Owner"], a["DisplayName"]) == (arn, ACCOUNT, "alerts")
    assert (a["SubscriptionsPending"], a["SubscriptionsConfirmed"], a["SubscriptionsDeleted"]) == ("0", "0", "0")
    assert json.loads(a["Policy"])["Statement"][0]["Condition"] == {"StringEquals": {"AWS:SourceOwner": ACCOUNT}}
    assert json.loads(a["EffectiveDeliveryPolicy"])["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 3
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="changed")
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["DisplayName"] == "changed"
    refused(sns.set_topic_attributes, "InvalidParameter", "Invalid parameter: AttributeName", TopicArn=arn, AttributeName="Colour", AttributeValue="x")
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "blue"}, {"Key": "x", "Value": ""}])
    sns.untag_resource(ResourceArn=arn, TagKeys=["x"])
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "blue"}]
    for _ in range(2):  # and one that is gone stays gone
        sns.delete_topic(TopicArn=arn)
    refused(sns.get_topic_attributes, "NotFound", "Topic does not exist", TopicArn=arn)
    refused(sns.publish, "NotFound", "Topic does not exist", TopicArn=arn, Message="x")


def test_http(sns, topic, receiver):
    made = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.url)
    assert made["SubscriptionArn"] == "pending confirmation"
    assert subscriptions(sns, topic)[receiver.url] == {
        "SubscriptionArn": PENDING, "Owner": ACCOUNT, "Protocol": "http", "Endpoint": receiver.url, "TopicArn": topic}
    ask = receiver.message("SubscriptionConfirmation")
    assert ask["TopicArn"] == topic and ask["Message"].startswith(f"You have chosen to subscribe to the topic {topic}.")
    sns.publish(TopicArn=topic, Message="for nobody yet")
    confirmed = visit(ask["SubscribeURL"])
    sub = subscriptions(sns, topic)[receiver.url]["SubscriptionArn"]
    assert sub.startswith(topic + ":") and sub in confirmed
    assert sns.confirm_subscription(TopicArn=topic, Token=ask["Token"])["SubscriptionArn"] == sub  # again
    a = sns.get_subscription_attributes(SubscriptionArn=sub)["Attributes"]
    assert a.items() >= {
        "SubscriptionArn": sub, "TopicArn": topic, "Owner": ACCOUNT, "Protocol": "http", "Endpoint": receiver.url, "PendingConfirmation": "false",
        "RawMessageDelivery": "false"}.items(), a
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "1"

    attributes = {"kind": {"DataType": "String", "StringValue": "a"}, "n": {"DataType": "Number", "StringValue": "7"}}
    sent = sns.publish(TopicArn=topic, Subject="of ümlauts", Message="first\nand {second}", MessageAttributes=attributes)["MessageId"]
    m = receiver.message(wanted=lambda m: m["MessageId"] == sent)
    assert (m["Subject"], m["Message"], m["TopicArn"], m["SignatureVersion"]) == ("of ümlauts", "first\nand {second}", topic, "1")
    assert m["MessageAttributes"] == {"kind": {"Type": "String", "Value": "a"}, "n": {"Type": "Number", "Value": "7"}}
    assert receiver.messages() == ["first\nand {second}"]  # what came before it was confirmed did not

    sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue="2")
    sns.publish(TargetArn=topic, Message="two")
    m = receiver.message(wanted=lambda m: m["Message"] == "two")
    assert m["SignatureVersion"] == "2" and "Subject" not in m

    structure = {"default": "for all", "http": "for http", "email": "for letters"}
    sns.publish(TopicArn=topic, MessageStructure="json", Message=json.dumps(structure))
    receiver.message(wanted=lambda m: m["Message"] == "for http")

    sns.set_subscription_attributes(SubscriptionArn=sub, AttributeName="RawMessageDelivery", AttributeValue="true")
    sns.publish(TopicArn=topic, Message="raw")
    headers, _ = receiver.wait(lambda _, body: body == "raw")
    assert (headers["x-amz-sns-rawdelivery"], headers["x-amz-sns-subscription-arn"]) == ("true", sub)
    sns.set_subscription_attributes(SubscriptionArn=sub, AttributeName="RawMessageDelivery", AttributeValue="false")

    visit(m["UnsubscribeURL"])
    assert receiver.message("UnsubscribeConfirmation")["TopicArn"] == topic
    assert receiver.url not in subscriptions(sns, topic)
    refused(sns.get_subscription_attributes, "NotFound", "Subscription does not exist", SubscriptionArn=sub)


def test_delivery_is_tried_again(sns, topic, receiver):
    policy = {"healthyRetryPolicy": {
        "numRetries": 3, "numNoDelayRetries": 2, "minDelayTarget": 1, "maxDelayTarget": 1, "numMinDelayRetries": 0, "numMaxDelayRetries": 0,
        "backoffFunction": "linear"}}
    sub = receiver.subscribe(topic, DeliveryPolicy=json.dumps(policy))
    effective = json.loads(sns.get_subscription_attributes(SubscriptionArn=sub)["Attributes"]["EffectiveDeliveryPolicy"])
    assert effective["healthyRetryPolicy"]["numNoDelayRetries"] == 2
    receiver.refuse = 2
    sent = sns.publish(TopicArn=topic, Message="at last")["MessageId"]

    def tries():
        return [h for h, _ in receiver.got if h["x-amz-sns-message-id"] == sent]

    receiver.wait(lambda *_: len(tries()) == 3)
    receiver.message(wanted=lambda m: m["MessageId"] == sent)


def test_filter_policies(sns, topic):
    def attribute(value):
        if isinstance(value, list):
            return {"DataType": "String.Array", "StringValue": json.dumps(value)}
        return {"DataType": "Number" if isinstance(value, int) else "String", "StringValue": str(value)}

    cases = [  # a policy, and the messages that it lets through
        ({"store": ["books"]}, {"books", "both"}),
        ({"store": [{"anything-but": "books"}]}, {"toys", "end"}),
        ({"store": [{"prefix": "bo"}, {"prefix": "to"}], "price": [{"numeric": [">=", 10, "<", 20]}]}, {"books", "both"}),
        ({"price": [{"exists": False}]}, {"toys"}),
        ({"colour": ["red"], "store": [{"exists": True}]}, {"both"}),
    ]
    messages = {
        "books": {"store": "books", "price": 10}, "toys": {"store": "toys"}, "both": {"store": "books", "price": 19, "colour": ["blue", "red"]},
        "end": {"store": "end", "price": 20},
    }
    receivers = []
    try:
        for policy, _ in cases:
            receivers.append(Receiver())
            receivers[-1].subscribe(topic, FilterPolicy=json.dumps(policy))
        for m, attributes in messages.items():
            sns.publish(TopicArn=topic, Message=m, MessageAttributes={k: attribute(v) for k, v in attributes.items()})
        for r, (policy, want) in zip(receivers, cases):
            for m in want:
                r.message(wanted=lambda got: got["Message"] == m)
            assert sorted(r.messages()) == sorted(want), policy
        sub = subscriptions(sns, topic)[receivers[0].url]["SubscriptionArn"]
        refused(sns.set_subscription_attributes, "InvalidParameter", "MessageBody", SubscriptionArn=sub, AttributeName="FilterPolicyScope",
                AttributeValue="MessageBody")  # not there: said, not dropped
        refused(sns.set_subscription_attributes, "InvalidParameter", "Invalid parameter: FilterPolicy", SubscriptionArn=sub, AttributeName="FilterPolicy",
                AttributeValue='{"store": "books"}')
    finally:
        for r in receivers:
            r.close()


def test_batch(sns, topic, receiver):
    receiver.subscribe(topic)
    entries = [{"Id": str(i), "Message": f"m {i}", "Subject": "batch"} for i in range(10)]
    done = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [s["Id"] for s in done["Successful"]] == [e["Id"] for e in entries] and not done.get("Failed")
    for s in done["Successful"]:
        assert receiver.message(wanted=lambda m: m["MessageId"] == s["MessageId"])["Message"] == "m " + s["Id"]
    mixed = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "good", "Message": "x"}, {"Id": "bad", "Message": ""}])
    assert [s["Id"] for s in mixed["Successful"]] == ["good"]
    assert [(f["Id"], f["Code"], f["SenderFault"]) for f in mixed["Failed"]] == [("bad", "InvalidParameter", True)], mixed
    for more, code in ((entries + [{"Id": "10", "Message": "x"}], "TooManyEntriesInBatchRequest"), (entries[:1] * 2, "BatchEntryIdsNotDistinct"), ([], "EmptyBatchRequest")):
        refused(sns.publish_batch, code, "", TopicArn=topic, PublishBatchRequestEntries=more)


def test_letters(sns, topic):
    to = address()
    assert sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=to)["SubscriptionArn"] == "pending confirmation"
    ask = letter(to)
    assert ask["Subject"] == "AWS Notification - Subscription Confirmation" and topic in text(ask)
    (link,) = [u for u in links(text(ask)) if "ConfirmSubscription" in u]
    visit(link)
    sub = subscriptions(sns, topic)[to]["SubscriptionArn"]
    assert sub.startswith(topic + ":")
    sns.publish(TopicArn=topic, Subject="spent: £5", Message="more than\nyou wanted: €5")
    told = letter(to, lambda m: m["Subject"] == "spent: £5")
    assert text(told).startswith("more than\nyou wanted: €5\n") and topic.rpartition(":")[2] in text(told)
    sns.publish(TopicArn=topic, Message="without a subject")
    letter(to, lambda m: m["Subject"] == "AWS Notification Message" and "without a subject" in text(m))
    sns.unsubscribe(SubscriptionArn=sub)
    assert to not in subscriptions(sns, topic)
    other = address()
    sns.subscribe(TopicArn=topic, Protocol="email-json", Endpoint=other)
    sns.confirm_subscription(TopicArn=topic, Token=json.loads(text(letter(other)))["Token"])
    sns.publish(TopicArn=topic, Message="in JSON")
    told = letter(other, lambda m: "in JSON" in text(m))
    assert json.loads(text(told))["Type"] == "Notification"
    assert len(letters(to)) == 3  # nothing after it was unsubscribed


def test_bad_input(sns, topic):
    invalid = "InvalidParameter"
    for n in ("with space", "a" * 257, ""):
        refused(sns.create_topic, invalid, "Invalid parameter: Topic Name", Name=n)
    for protocol, endpoint, said in (
        ("ftp", "ftp://example.com/", "Amazon SNS does not support this protocol string: ftp"),
        ("http", "https://example.com/", "Endpoint must match the specified protocol"),
        ("http", "http:///", "Invalid parameter: "),
        ("email", "nobody", "Invalid parameter: Email address"),
        ("email", "a@b\r\nBcc: c@d", "Invalid parameter: Email address"),
    ):
        refused(sns.subscribe, invalid, said, TopicArn=topic, Protocol=protocol, Endpoint=endpoint)
    refused(sns.subscribe, invalid, "Invalid parameter: ", TopicArn="no arn", Protocol="http", Endpoint="http://127.0.0.1:1/")
    refused(sns.subscribe, invalid, "FilterPolicy", TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1:1/", Attributes={"FilterPolicy": "{"})
    refused(sns.subscribe, "NotFound", "Topic does not exist", TopicArn=topic + "x", Protocol="email", Endpoint=address())
    refused(sns.confirm_subscription, invalid, "oken", TopicArn=topic, Token="0" * 64)
    for args, said in (
        ({"Message": ""}, "Empty message"),
        ({"Message": "x" * (256 * 1024 + 1)}, "Message too long"),
        ({"Message": "x", "Subject": "two\nlines"}, "Subject"),
        ({"Message": "x", "Subject": "x" * 101}, "Subject"),
        ({"Message": "no json", "MessageStructure": "json"}, "Message Structure - JSON message body failed to parse"),
        ({"Message": "{}", "MessageStructure": "json"}, "Message Structure - No default entry in JSON message body"),
    ):
        refused(sns.publish, invalid, "Invalid parameter: " + said, TopicArn=topic, **args)
    for protocol, endpoint in (("sqs", "arn:aws:sqs:us-east-1:123456789012:queue"), ("lambda", "arn:aws:lambda:us-east-1:123456789012:function:f"), ("sms", "+4915112345678")):
        refused(sns.subscribe, invalid, protocol, TopicArn=topic, Protocol=protocol, Endpoint=endpoint)  # not there: said, not dropped
