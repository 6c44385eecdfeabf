"""A worker of a model server: it loads the user's model once and answers one
request at a time, which come by the socket that it is started with.

A message is the length of its head (4 bytes), the length of its body (8
bytes), the head in JSON, and the body.
"""

import importlib.util
import json
import logging
import os
import socket
import struct
import sys

from clary_runtime import handlers

LENGTHS = struct.Struct("!IQ")


def receive(channel):
    """Reads a message; None when there are no more."""
    start = take(channel, LENGTHS.size)
    if start is None:
        return None
    head, body = LENGTHS.unpack(start)
    return json.loads(bytes(take(channel, head))), bytes(take(channel, body))


def take(channel, size):
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        n = channel.recv_into(view[got:])
        if n == 0:
            return None
        got += n
    return data


def send(channel, head, body=b""):
    text = json.dumps(head).encode()
    channel.sendall(LENGTHS.pack(len(text), len(body)) + text)
    if body:
        channel.sendall(body)


def tell(text):
    """Writes to the log at once, so that no other worker's lines get between."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(2, (text.rstrip("\n") + "\n").encode("utf-8", "replace"))


def prepare():
    """What a script finds as in the image: a log of its own words, and what it may import."""
    level = os.environ.get("SAGEMAKER_CONTAINER_LOG_LEVEL", "")
    logging.basicConfig(format="%(asctime)s %(name)-12s %(levelname)-8s %(message)s", level=int(level) if level.isdigit() else logging.INFO)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    if importlib.util.find_spec("sagemaker_containers") is None:
        sys.path.append(os.path.join(os.path.dirname(os.path.dirname(__file__)), "stand_in"))


def main(framework, program):
    channel = socket.socket(fileno=3)
    channel.set_inheritable(False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, write_through=False)  # several workers share the log: a line at a time
    prepare()
    try:
        service = handlers.load(framework, program, os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    except BaseException as e:  # a script may end the process too
        tell(handlers.trace_of(e))
        os._exit(1)
    send(channel, {"ready": True})
    while True:
        message = receive(channel)
        if message is None:
            return
        answer = service.answer(*message)
        if answer.trace:
            tell(answer.trace)
        send(channel, {"status": answer.status, "headers": answer.headers}, answer.body)


if __name__ == "__main__":
    main(*sys.argv[1:3])
