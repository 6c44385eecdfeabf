"""Tells Clary what JupyterLab knows of its use, and open tabs what Clary says.

Nothing here polls, and no request to it is taken for use of the instance.
Times are those of time.monotonic().
"""

import asyncio
import json
import os
import re
import time
import uuid

from jupyter_client.session import Session
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.contents.handlers import ContentsHandler
from jupyter_server_terminals.handlers import TermSocket
from tornado import iostream, web

# What a page asks a kernel by itself. Whatever else it asks is a person's doing.
BY_ITSELF = {
    "comm_info_request", "create_subshell_request", "debug_request", "delete_subshell_request", "history_request",
    "input_reply", "interrupt_request", "kernel_info_request", "list_subshell_request", "shutdown_request", "usage_request",
}

# What a terminal answers a program that asks about it: device attributes,
# cursor and modes, focus, colours, strings. No key does that.
ANSWER = re.compile(r"(?:\x1b\[[?>=]?[\d;]*(?:[cRn]|\$y)|\x1b\[[IO]|\x1b\]\d+;.*?(?:\x07|\x1b\\)|\x1bP.*?\x1b\\)+", re.DOTALL)

# A page that is opened asks by comms for the widgets that it shows, for so many
# seconds. Later messages of comms are of somebody who moves one.
RESTORING = 10

SAVE_WITHIN = 20  # seconds that open tabs may take to save
STILL_HERE = 25  # seconds between two signs of life to a tab


class Watch:
    """What was seen so far."""

    def __init__(self, app):
        self.app = app
        self.started = time.monotonic()
        self.kernels = {}  # id: KernelWatch
        self.saved = None
        self.kept = None
        self.tabs = {}  # id: queue of its events
        self.warning = None
        self.saving = {}  # request: (tabs that have not answered, event)

    def tell(self, event, data):
        for queue in self.tabs.values():
            queue.put_nowait((event, data))

    def answered(self, request, tab):
        waiting = self.saving.get(request)
        if waiting:
            waiting[0].discard(tab)
            if not waiting[0]:
                waiting[1].set()

    async def sample(self):
        names = {}
        for s in await self.app.session_manager.list_sessions():
            if s.get("kernel"):
                names[s["kernel"]["id"]] = s["path"] if s["type"] == "notebook" else s["name"] or s["path"]
        manager = self.app.kernel_manager
        kernels = []
        for model in manager.list_kernels():
            seen = self.kernels.get(model["id"])
            provisioner = manager.get_kernel(model["id"]).provisioner
            kernels.append({
                "id": model["id"], "name": model["name"], "document": names.get(model["id"], ""),
                "pid": getattr(provisioner, "pid", None) or 0,
                "state": seen.state(model["execution_state"]) if seen else model["execution_state"],
                "last": seen.last if seen else None, "connections": model["connections"],
            })
        terminals = []
        # There are none where the user's settings turn them off.
        for name, term in getattr(self.app.web_app.settings.get("terminal_manager"), "terminals", {}).items():
            terminals.append({"name": name, "pid": term.ptyproc.pid, "input": getattr(term, "clary_input", None), "connections": len(term.clients)})
        return {
            "pid": os.getpid(), "started": self.started, "kernels": kernels, "terminals": terminals,
            "saved": self.saved, "kept": self.kept, "tabs": len(self.tabs),
        }


class KernelWatch:
    """Follows one kernel's messages: which requests it works at."""

    def __init__(self, kernel):
        self.at = {}  # the id of a request: the subshell that works at it, since when, whether a page asked by itself
        self.last = time.monotonic()
        self.opened = -RESTORING  # when a page last opened a comm
        self.session = Session(config=kernel.session.config, key=kernel.session.key)
        self.stream = kernel.connect_iopub()
        self.stream.on_recv(self.heard)

    def heard(self, parts):
        _, parts = self.session.feed_identities(parts)
        message = self.session.deserialize(parts, content=False)
        if message["header"]["msg_type"] != "status":
            return
        parent = message.get("parent_header") or {}
        state = self.session.unpack(message["content"])["execution_state"]
        kind, now = parent.get("msg_type"), time.monotonic()
        if not kind:
            if state in ("starting", "restarting", "dead"):
                self.at.clear()
            return
        if kind in BY_ITSELF:
            return
        if kind == "comm_open":
            self.opened = now
        by_itself = kind == "comm_open" or kind == "comm_msg" and now - self.opened < RESTORING
        if not by_itself:
            self.last = now
        if state == "busy":
            # A shell works at one request after the other: the one before has ended, even if that was not heard.
            shell = parent.get("subshell_id")
            self.at = {k: v for k, v in self.at.items() if v[0] != shell}
            self.at[parent["msg_id"]] = (shell, now, by_itself)
        else:
            self.at.pop(parent["msg_id"], None)

    def state(self, told):
        """busy or not, as far as this heard; else what it was told."""
        if not self.at:
            return told
        now = time.monotonic()
        return "busy" if any(not by_itself or now - since > RESTORING for _, since, by_itself in self.at.values()) else "idle"

    def close(self):
        if not self.stream.closed():
            self.stream.close()


class Handler(JupyterHandler):
    @property
    def watch(self):
        return self.settings["clary_watch"]

    def body(self):
        return json.loads(self.request.body or b"{}")


class Activity(Handler):
    @web.authenticated
    async def get(self):
        self.finish(await self.watch.sample())


class Events(Handler):
    """What a tab is told, as server-sent events, as long as it is open."""

    @web.authenticated
    async def get(self):
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        tab, self.queue = uuid.uuid4().hex, asyncio.Queue()
        self.watch.tabs[tab] = self.queue
        self.queue.put_nowait(("hello", {"tab": tab}))
        self.queue.put_nowait(("warn", self.watch.warning) if self.watch.warning else ("withdraw", {}))
        try:
            while True:
                try:
                    said = await asyncio.wait_for(self.queue.get(), STILL_HERE)
                except asyncio.TimeoutError:
                    self.write(": \n\n")
                else:
                    if said is None:
                        break
                    self.write(f"event: {said[0]}\ndata: {json.dumps(said[1])}\n\n")
                await self.flush()
        except iostream.StreamClosedError:
            pass
        finally:
            del self.watch.tabs[tab]
            for request in list(self.watch.saving):
                self.watch.answered(request, tab)

    def on_connection_close(self):
        super().on_connection_close()
        if hasattr(self, "queue"):
            self.queue.put_nowait(None)


class Warn(Handler):
    @web.authenticated
    async def post(self):
        said = self.body()
        self.watch.warning = said if said.get("stop_at") else None
        self.watch.tell("warn" if self.watch.warning else "withdraw", said)
        self.finish({})


class Keep(Handler):
    @web.authenticated
    async def post(self):
        self.watch.kept = time.monotonic()
        self.watch.warning = None
        self.watch.tell("withdraw", {})
        self.finish({})


class Save(Handler):
    @web.authenticated
    async def post(self):
        request, event = uuid.uuid4().hex, asyncio.Event()
        waiting = set(self.watch.tabs)
        asked = len(waiting)
        if asked:
            self.watch.saving[request] = (waiting, event)
            self.watch.tell("save", {"request": request})
            try:
                await asyncio.wait_for(event.wait(), SAVE_WITHIN)
            except asyncio.TimeoutError:
                pass
            finally:
                del self.watch.saving[request]
        self.finish({"tabs": asked, "silent": len(waiting)})


class Saved(Handler):
    @web.authenticated
    async def post(self):
        said = self.body()
        if said.get("failed"):
            self.log.warning("clary: a tab could not save %s documents", said["failed"])
        self.watch.answered(said.get("request"), said.get("tab"))
        self.finish({})


def load(app):
    """Begins to watch a server whose handlers are about to be laid out."""
    watch = app.web_app.settings["clary_watch"] = Watch(app)
    manager = app.kernel_manager
    start, stop = manager.start_watching_activity, manager.stop_watching_activity

    def start_watching(kernel_id):
        start(kernel_id)
        if kernel_id in watch.kernels:
            watch.kernels.pop(kernel_id).close()
        watch.kernels[kernel_id] = KernelWatch(manager.get_kernel(kernel_id))

    def stop_watching(kernel_id):
        stop(kernel_id)
        if kernel_id in watch.kernels:
            watch.kernels.pop(kernel_id).close()

    manager.start_watching_activity, manager.stop_watching_activity = start_watching, stop_watching

    heard, finished = TermSocket.on_message, ContentsHandler.on_finish

    async def on_message(self, message):
        said = json.loads(message)
        if said[0] == "stdin" and self.terminal is not None and not ANSWER.fullmatch(said[1]):
            self.terminal.clary_input = time.monotonic()
        await heard(self, message)

    def on_finish(self):
        finished(self)
        # What tabs save because Clary asked them to is nobody's work.
        if self.request.method not in ("GET", "HEAD", "OPTIONS") and self.get_status() < 400 and not watch.saving:
            watch.saved = time.monotonic()

    TermSocket.on_message, ContentsHandler.on_finish = on_message, on_finish

    base = app.web_app.settings["base_url"] + "clary/"
    app.web_app.add_handlers(".*$", [
        (base + name, handler)
        for name, handler in (("activity", Activity), ("events", Events), ("warn", Warn), ("keep", Keep), ("save", Save), ("saved", Saved))
    ])
