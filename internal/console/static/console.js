// The pages work without this. It shows times in the reader's zone, copies
// code, follows what runs, and appends a log's lines as they are written.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  // Rows below the first screen are laid out when that has been painted.
  new PerformanceObserver(() => root.classList.add("painted")).observe({ type: "paint", buffered: true });

  // A form costs about a millisecond to make: none is made that no time has.
  const form = (options) => { let f; return (at) => (f ??= new Intl.DateTimeFormat(undefined, options)).format(at); };
  const whole = form({ dateStyle: "medium", timeStyle: "medium" });
  const clock = form({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const moment = form({ month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const zone = form({ timeZoneName: "long" });

  function ago(at) {
    const s = Math.max(0, (Date.now() - at) / 1000);
    if (s < 60) return Math.floor(s) + " s ago";
    if (s < 3600) return Math.floor(s / 60) + " min ago";
    if (s < 172800) return Math.floor(s / 3600) + " h ago";
    return Math.floor(s / 86400) + " d ago";
  }

  function times(root) {
    for (const t of root.querySelectorAll("time")) {
      const at = new Date(t.dateTime);
      if (t.dataset.form === "ago") t.textContent = ago(at);
      else if (t.dataset.form === "moment" && at.getFullYear() === new Date().getFullYear()) t.textContent = moment(at);
      else if (t.dataset.form === "clock") t.textContent = clock(at);
      else t.textContent = whole(at);
    }
  }
  setInterval(() => {
    for (const t of document.querySelectorAll('time[data-form="ago"]')) {
      const text = ago(new Date(t.dateTime));
      if (t.textContent !== text) t.textContent = text;
    }
  }, 1000);
  // The whole time, with its zone, is made for the one that is pointed at.
  document.addEventListener("pointerover", (e) => {
    const t = e.target.closest?.("time");
    if (!t || t.title) return;
    const at = new Date(t.dateTime);
    t.title = whole(at) + " (" + zone(at).split(", ").pop() + ")";
  });

  document.addEventListener("click", async (e) => {
    const b = e.target.closest("button.copy");
    if (!b) return;
    const text = b.parentElement.querySelector("pre").textContent;
    try {
      await navigator.clipboard.writeText(text);
      b.textContent = "Copied";
    } catch {
      const s = getSelection();
      s.selectAllChildren(b.parentElement.querySelector("pre"));
      b.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { b.textContent = "Copy"; }, 2000);
  });

  // A question that is a page without this is asked on top of the page. The
  // browser keeps the focus inside, Escape says no, and then the focus goes
  // back to where it came from.
  let question = null;
  document.addEventListener("click", async (e) => {
    const a = e.target.closest("a[data-ask]");
    if (!a || e.button || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    if (question) return;
    question = document.createElement("dialog");
    const href = a.getAttribute("href");
    let main = null;
    try {
      const r = await fetch(href, { headers: { Accept: "text/html" } });
      if (r.ok && !r.redirected) main = new DOMParser().parseFromString(await r.text(), "text/html").getElementById("main");
    } catch { /* the page says what is wrong */ }
    const title = main?.querySelector("h1");
    if (!title) { location.href = href; return; }
    title.id = "question";
    question.setAttribute("aria-labelledby", title.id);
    question.append(...main.childNodes);
    question.querySelector("a[data-no]")?.addEventListener("click", (no) => { no.preventDefault(); question.close(); });
    question.addEventListener("close", () => {
      question.remove();
      question = null;
      (document.querySelector('a[data-ask][href="' + CSS.escape(href) + '"]') || document.getElementById("main")).focus();
    });
    times(question);
    document.body.append(question);
    question.showModal();
  });

  document.addEventListener("change", (e) => {
    if (e.target.matches("select[data-submit]")) e.target.form.requestSubmit();
  });

  // What runs: the server says that something changed, the page is asked for
  // anew, and the parts of it that differ are put in place.
  let asking = false, again = false, last = 0;
  async function refresh() {
    if (asking || document.hidden) { again = true; return; }
    asking = true; again = false;
    const wait = 1000 - (Date.now() - last);
    if (wait > 0) await new Promise((r) => setTimeout(r, wait));
    last = Date.now();
    try {
      const r = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (r.redirected && new URL(r.url).pathname === "/signin") { location.reload(); return; }
      if (r.ok) {
        const next = new DOMParser().parseFromString(await r.text(), "text/html");
        for (const old of document.querySelectorAll("[data-live]")) {
          const now = next.getElementById(old.id);
          if (!now) { old.replaceChildren(); continue; }
          times(now);
          if (old.innerHTML === now.innerHTML) continue;
          const open = [...old.querySelectorAll("details")].map((d) => d.open);
          const focus = document.activeElement && old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
          old.replaceChildren(...now.childNodes);
          [...old.querySelectorAll("details")].forEach((d, i) => { if (open[i]) d.open = true; });
          if (focus) old.querySelector('[href="' + CSS.escape(focus) + '"]')?.focus();
        }
      }
    } catch { /* the server is away; the stream comes back by itself and asks again */ }
    asking = false;
    if (again) refresh();
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });

  // A browser has six connections to a server for all of its tabs, and each of
  // these streams is one: a page that nobody sees gives its own back. on are
  // what to do by an event's name; back is called when the stream was away.
  function follow(address, on, back) {
    let source = null, id = "", over = false, missed = document.hidden;
    const end = () => { over = true; source?.close(); };
    function begin() {
      if (over || document.hidden || (source && source.readyState !== EventSource.CLOSED)) return;
      const at = new URL(address, location.href);
      if (id) at.searchParams.set("after", id);
      source = new EventSource(at);
      for (const [name, act] of Object.entries(on)) source.addEventListener(name, (e) => { id = e.lastEventId || id; act(e, end); });
      source.addEventListener("open", () => { if (missed) back(); missed = false; });
      source.addEventListener("error", (e) => {
        missed = true;
        if (e.target.readyState === EventSource.CLOSED && e.target === source && !over) { // refused, as when the session is over
          refresh();
          setTimeout(begin, 10000);
        }
      });
    }
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) { begin(); return; }
      missed = true;
      source?.close();
    });
    begin();
  }

  if (document.querySelector("[data-live]")) follow("/live", { changed: refresh }, refresh);

  // A log that is being written.
  for (const log of document.querySelectorAll("pre[data-tail]")) {
    let stuck = true;
    const bottom = () => { log.scrollTop = log.scrollHeight; };
    log.addEventListener("scroll", () => { stuck = log.scrollHeight - log.scrollTop - log.clientHeight < 40; });
    bottom();
    const lines = (e) => {
      const add = document.createDocumentFragment();
      for (const line of JSON.parse(e.data)) {
        const row = document.createElement("span");
        row.className = "l";
        const at = document.createElement("time");
        at.className = "at"; at.dateTime = line.at; at.dataset.form = "clock";
        row.append(at, line.text);
        add.append(row);
      }
      times(add);
      log.append(add);
      while (log.childElementCount > 5000) log.firstElementChild.remove();
      log.hidden = false;
      document.getElementById("nolog")?.remove();
      if (stuck) bottom();
    };
    follow(log.dataset.tail, { lines, over: (_, end) => { end(); refresh(); } }, () => {});
  }
  for (const log of document.querySelectorAll("pre.log:not(.whole)")) log.scrollTop = log.scrollHeight;

  times(document);
})();
