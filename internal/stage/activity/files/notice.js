// Tells the people at an open tab that their instance is about to be stopped,
// lets them keep it, and saves what the tab holds. JupyterLab loads this file
// as a container of one module.
"use strict";

(() => {
  const lab = () => JSON.parse(document.getElementById("jupyter-config-data").textContent);
  const at = (path) => lab().baseUrl + "clary/" + path;
  const cookie = (name) => (document.cookie.match("(?:^|; )" + name + "=([^;]*)") || [])[1] || "";
  const post = (path, body) =>
    fetch(at(path), {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf") },
      body: JSON.stringify(body),
    });

  const minutes = (seconds) => {
    const n = Math.max(1, Math.round(seconds / 60));
    return n === 1 ? "a minute" : n + " minutes";
  };

  function activate(app) {
    const keep = "clary:keep-running";
    let shown = null; // a promise of the notification's id
    let text = "";

    // One after the other: a withdrawal finds what the warning before it showed.
    let last = Promise.resolve();
    const then = (f) => (last = last.then(f).catch((e) => console.error("clary-notice:", e)));

    const withdraw = async () => {
      text = "";
      if (shown === null) return;
      const id = shown;
      shown = null;
      await app.commands.execute("apputils:dismiss-notification", { id });
    };

    const warn = async (w) => {
      const time = new Date(w.stop_at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      const message = w.budget
        ? `This notebook instance is stopped now: the budget ${w.budget.slice(0, 40)} has come to its limit. Its files stay.`
        : `This notebook instance will be stopped at ${time}: nothing has run on it for ${minutes(w.idle)}. Its files stay.`; // JupyterLab shows 140 characters
      if (message === text) return;
      await withdraw();
      text = message;
      shown = await app.commands.execute("apputils:notify", {
        message,
        type: "warning",
        options: { autoClose: false, actions: w.budget ? [] : [{ label: "Keep it running", commandId: keep, displayType: "accent" }] },
      });
    };

    // Only what is not saved: writing a document that did not change would
    // look like somebody's work.
    const save = async (request, tab) => {
      const dirty = new Set();
      for (const w of app.shell.widgets("main")) {
        const c = w.context;
        if (c && c.model && c.model.dirty && c.contentsModel && c.contentsModel.writable) dirty.add(c);
      }
      const ends = await Promise.allSettled([...dirty].map((c) => c.save()));
      await post("saved", { tab, request, failed: ends.filter((e) => e.status === "rejected").length });
    };

    app.commands.addCommand(keep, {
      label: "Keep This Instance Running",
      execute: async () => {
        const answer = await post("keep", {});
        if (!answer.ok) throw new Error("the instance answered " + answer.status);
        await then(withdraw);
      },
    });

    app.restored.then(() => {
      let tab = "";
      let events = null;
      const listen = () => {
        events = new EventSource(at("events")); // connects again by itself
        events.addEventListener("hello", (e) => (tab = JSON.parse(e.data).tab));
        events.addEventListener("warn", (e) => then(() => warn(JSON.parse(e.data))));
        events.addEventListener("withdraw", () => then(withdraw));
        events.addEventListener("save", (e) => save(JSON.parse(e.data).request, tab));
      };
      // A browser may keep a page that was left, and its connection with it.
      window.addEventListener("pagehide", () => events.close());
      window.addEventListener("pageshow", (e) => e.persisted && listen());
      listen();
    });
  }

  const module = {
    __esModule: true,
    default: { id: "clary-notice:plugin", description: "Tells of an instance that is about to be stopped.", autoStart: true, activate },
  };
  (window._JUPYTERLAB ??= {})["clary-notice"] = {
    init: () => {}, // it shares no package
    get: async (name) => {
      if (name !== "./extension") throw new Error("clary-notice has no " + name);
      return () => module;
    },
  };
})();
