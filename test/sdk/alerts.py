"""Who is told: a receiver of what SNS posts, which looks at the signatures as
receivers on AWS do, and the letters that arrived."""

import base64
import email.policy
import http.server
import json
import mailbox
import os
import re
import ssl
import threading
import time
import urllib.parse
import urllib.request

import boto3
import rsa
from helpers import name
from pyasn1.codec.der import decoder, encoder

ACCOUNT = "123456789012"
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
HASHES = {"1": "SHA-1", "2": "SHA-256"}


def visit(url):
    """What a link leads to, through the proxy where it is one of AWS's."""
    trust = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"]) if url.startswith("https:") else None
    with urllib.request.urlopen(url, timeout=60, context=trust) as r:
        return r.read().decode()


def verified(message):
    """Fails unless SNS signed the message."""
    at = urllib.parse.urlsplit(message["SigningCertURL"])
    assert at.scheme == "https" and re.fullmatch(r"sns\.[a-z0-9-]+\.amazonaws\.com", at.netloc) and at.path.endswith(".pem"), at
    certificate, _ = decoder.decode(ssl.PEM_cert_to_DER_cert(visit(message["SigningCertURL"])))
    key = rsa.PublicKey.load_pkcs1_openssl_der(encoder.encode(certificate[0][6]))
    text = "".join(f"{k}\n{message[k]}\n" for k in SIGNED[message["Type"]] if k in message)
    used = rsa.verify(text.encode(), base64.b64decode(message["Signature"]), key)
    assert used == HASHES[message["SignatureVersion"]], used
    return message


class Receiver:
    """An endpoint of HTTP subscriptions."""

    def __init__(self):
        self.refuse = 0  # so many requests are answered 500
        self.got, self.arrived = [], threading.Condition()
        to = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with to.arrived:
                    refuse, to.refuse = to.refuse > 0, max(0, to.refuse - 1)
                    to.got.append((self.headers, body.decode()))
                    to.arrived.notify_all()
                self.send_response(500 if refuse else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def wait(self, wanted, within=90):
        """The headers and the body of the first request that is wanted."""
        with self.arrived:
            deadline = time.monotonic() + within
            while True:
                for headers, body in self.got:
                    if wanted(headers, body):
                        return headers, body
                left = deadline - time.monotonic()
                assert left > 0, [b[:600] for _, b in self.got]
                self.arrived.wait(left)

    def message(self, kind="Notification", wanted=lambda m: True, within=90):
        """The first message of a kind that is wanted, with its signature looked at."""
        def fits(headers, body):
            return headers["x-amz-sns-message-type"] == kind and not headers["x-amz-sns-rawdelivery"] and wanted(json.loads(body))

        headers, body = self.wait(fits, within)
        m = verified(json.loads(body))
        assert headers["Content-Type"] == "text/plain; charset=UTF-8" and headers["User-Agent"] == "Amazon Simple Notification Service Agent"
        assert (m["Type"], headers["x-amz-sns-message-id"], headers["x-amz-sns-topic-arn"]) == (kind, m["MessageId"], m["TopicArn"])
        return m

    def messages(self):
        return [json.loads(body)["Message"] for headers, body in self.got if headers["x-amz-sns-message-type"] == "Notification"]

    def subscribe(self, topic, **attributes):
        """A confirmed subscription."""
        sns = boto3.client("sns")
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=self.url, Attributes=attributes)
        visit(self.message("SubscriptionConfirmation", lambda m: m["TopicArn"] == topic)["SubscribeURL"])
        (arn,) = [s["SubscriptionArn"] for s in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] if s["Endpoint"] == self.url]
        assert arn.startswith(topic + ":")
        return arn


def topic():
    """A topic that AWS Budgets may publish to, too."""
    sns = boto3.client("sns")
    arn = sns.create_topic(Name=name("spend"))["TopicArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "budgets.amazonaws.com"}, "Action": "SNS:Publish", "Resource": arn}
    policy = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])
    policy["Statement"].append({"Sid": "budgets", **allow})
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(policy))
    return arn


def address():
    """A mail address that nobody else has."""
    return name("someone") + "@example.com"


def letters(to):
    """What has arrived at an address."""
    box = mailbox.Maildir(os.environ["CLARY_TEST_MAIL"], factory=lambda f: email.message_from_binary_file(f, policy=email.policy.default))
    return sorted((m for m in box if m["X-RcptTo"] == to), key=lambda m: m["Date"].datetime)


def letter(to, wanted=lambda m: True, within=90):
    """The first letter at an address that is wanted."""
    deadline = time.monotonic() + within
    while True:
        for m in letters(to):
            if wanted(m):
                return m
        assert time.monotonic() < deadline, [(m["Subject"], text(m)) for m in letters(to)]
        time.sleep(0.2)


def text(letter):
    return letter.get_body(("plain",)).get_content()


def links(text):
    return re.findall(r"https?://[^\s\"<>]+", text)
