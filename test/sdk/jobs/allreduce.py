"""Distributed training by hand: every host has a part of the rows, computes its
part of the gradient and gets the sum of all, so that all go the same way."""

import argparse
import json
import os
import socket
import struct
import time

import numpy as np
import pandas as pd

PORT = 7788


def connect(host):
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection((host, PORT), timeout=60)
        except OSError:  # it has not started yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def send(sock, a):
    data = a.astype("<f8").tobytes()
    sock.sendall(struct.pack("<I", len(data)) + data)


def receive(file):
    (size,) = struct.unpack("<I", file.read(4))
    return np.frombuffer(file.read(size), "<f8")


class Group:
    """The first host adds up and answers the others."""

    def __init__(self, me, hosts):
        self.first, self.peers = me == hosts[0], []
        if self.first:
            with socket.create_server(("", PORT)) as server:
                server.settimeout(90)
                self.peers = [server.accept()[0] for _ in hosts[1:]]
        else:
            self.peers = [connect(hosts[0])]
        self.files = [p.makefile("rb") for p in self.peers]

    def sum(self, a):
        if self.first:
            total = a + sum(receive(f) for f in self.files)
            for p in self.peers:
                send(p, total)
            return total
        send(self.peers[0], a)
        return receive(self.files[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0.1)
    args = parser.parse_args()

    with open("/opt/ml/input/config/resourceconfig.json") as f:
        config = json.load(f)
    me, hosts = config["current_host"], config["hosts"]
    assert json.loads(os.environ["SM_HOSTS"]) == hosts and os.environ["SM_CURRENT_HOST"] == me

    folder = os.environ["SM_CHANNEL_TRAIN"]
    data = pd.concat(pd.read_csv(os.path.join(folder, f)) for f in sorted(os.listdir(folder)))
    y = (data.pop("label") > 0).to_numpy(float)
    x = np.column_stack([data.to_numpy(), np.ones(len(data))])
    group = Group(me, hosts)
    rows = group.sum(np.array([len(x)], float))[0]
    print(f"{me} has {len(x)} of {rows:.0f} rows", flush=True)

    w = np.zeros(x.shape[1])
    for epoch in range(args.epochs):
        p = 1 / (1 + np.exp(-x @ w))
        sums = group.sum(np.append(x.T @ (p - y), ((p > 0.5) == y).sum()))
        w -= args.rate * sums[:-1] / rows
    print(f"{me} ends at accuracy={sums[-1] / rows:.4f}; {' '.join(f'{v:.12g}' for v in w)}", flush=True)
    with open(os.path.join(os.environ["SM_MODEL_DIR"], f"weights-{me}.json"), "w") as f:
        json.dump(list(w), f)


if __name__ == "__main__":
    main()
