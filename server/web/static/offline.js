// Decisions made without a connection: kept in this browser's IndexedDB, with what the person had read, and sent once
// the server answers again. One that is no longer as it was read is not saved; both wordings are shown until dismissed.
"use strict";
window.waycue = window.waycue || {};
(() => {
  const STORE = "decisions";
  const EVERY_MS = 3000; // where nothing is kept, it is one look into an empty store

  function database() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open("waycue", 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key", autoIncrement: true });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }
  async function within(mode, work) {
    const base = await database();
    try {
      return await new Promise((resolve, reject) => {
        const transaction = base.transaction(STORE, mode);
        const request = work(transaction.objectStore(STORE));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = transaction.onerror = () => reject(transaction.error);
      });
    } finally {
      base.close();
    }
  }
  const kept = () => within("readonly", (store) => store.getAll());
  const keep = (decision) => within("readwrite", (store) => store.put(decision));
  const drop = (key) => within("readwrite", (store) => store.delete(key));

  // Who is logged in on this page: nobody's decision is ever sent as another's.
  const person = () => document.querySelector('meta[name="waycue-person"]')?.content || "";

  // {sample_id, read, body} of a decision that could not be sent. body: as /api/samples/{id}/review takes it.
  async function remember(decision) {
    await keep({ ...decision, person: person(), at: Date.now() });
    await show();
  }

  // ---- sending; one tab at a time, in the order in which they were made
  async function send() {
    if (!navigator.locks) return flush();
    return navigator.locks.request("waycue-send", { ifAvailable: true }, (lock) => lock && flush());
  }
  async function flush() {
    for (const decision of (await kept()).filter((one) => !one.trouble && one.person && one.person === person())) {
      let answer;
      try {
        answer = await fetch(`/api/samples/${encodeURIComponent(decision.sample_id)}/review`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(decision.body),
        });
      } catch (error) {
        break; // still away
      }
      if (answer.ok) await drop(decision.key);
      else if (answer.status === 401 || answer.status === 403 || answer.status === 429 || answer.status >= 500) break;
      else await keep({ ...decision, trouble: await reason(answer) });
    }
    await show();
  }
  async function reason(answer) {
    try {
      const body = await answer.json();
      return { detail: String(body.detail), stands: body.stands ? `Now stands: ${body.stands}` : "" };
    } catch (error) {
      return { detail: `The server answered ${answer.status}.`, stands: "" };
    }
  }

  // ---- telling
  function paragraph(...parts) {
    const made = document.createElement("p");
    made.append(...parts);
    return made;
  }
  async function show() {
    const all = await kept();
    document.getElementById("kept")?.remove();
    if (!all.length) return;
    const box = document.createElement("section");
    box.id = "kept";
    box.className = "conflict";
    box.setAttribute("aria-label", "Decisions kept on this machine");
    const waiting = all.filter((one) => !one.trouble).length;
    if (waiting) {
      const told = paragraph(`${waiting} decision${waiting === 1 ? " is" : "s are"} kept on this machine and sent once the server answers.`);
      told.setAttribute("role", "status");
      box.append(told);
    }
    for (const one of all.filter((other) => other.trouble)) {
      const link = document.createElement("a");
      link.href = `/moments/${encodeURIComponent(one.sample_id)}`;
      link.textContent = "Look again";
      const dismiss = document.createElement("button");
      dismiss.type = "button";
      dismiss.textContent = "Dismiss";
      dismiss.addEventListener("click", () => drop(one.key).then(show));
      const read = one.read ? `You read “${one.read}”` : "You read that nothing should be said";
      const line = paragraph(`Not saved: ${one.trouble.detail} ${read}, and chose: ${one.body.text || one.body.action}. `, one.trouble.stands, " ", link, " ", dismiss);
      line.className = "error";
      box.append(line);
    }
    document.getElementById("main").firstElementChild.prepend(box);
  }

  window.waycue.offline = { remember, send };
  window.addEventListener("online", () => send().catch(() => {}));
  setInterval(() => send().catch(() => {}), EVERY_MS);
  if ("indexedDB" in window) send().catch(() => {});
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js").catch(() => {});
})();
