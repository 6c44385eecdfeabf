"""A training script that goes on until it is told to stop, then saves."""

import os
import signal
import sys
import threading

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
tick = 0
while not stop.wait(0.25):
    tick += 1
    print(f"tick {tick}", flush=True)
with open(os.path.join(os.environ["SM_MODEL_DIR"], "saved.txt"), "w") as f:
    f.write(f"stopped after {tick}")
print("saved", flush=True)
sys.exit(0)
