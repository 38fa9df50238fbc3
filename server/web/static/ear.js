// Review by ear: plays what the server words, one part after another, and sends what the keys ask for. Nothing here makes
// sentences. Enter accepts only what was heard: the proposal itself, and of an unsure one what the wearer said.
"use strict";
(() => {
  const { keys, times } = window.waycue;
  const HEARD_S = 1.0; // of a proposal, before Enter accepts it: a second Enter of the same finger is sooner
  const LOG_MOST = 60;
  const AGAIN_MS = 1500;
  const RATES = [0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3];
  const DONE = "waycue.ear.done";
  const player = document.getElementById("ear-player");
  const log = document.getElementById("ear-log");
  const edit = document.getElementById("ear-edit");
  const field = document.getElementById("ear-text");
  const begin = document.querySelector('[data-ear-do="enter"]');
  const dialog = document.getElementById("keys");

  let moment = null; // as /api/ear/next gives it
  let offered = []; // wordings that Enter or a number teaches, after words that were not taken or a number
  let asking = null; // a question that Enter answers with yes, once it was heard: {what, parts, told or chosen}
  let heard = new Set(); // kinds of parts of this moment that were heard
  let queue = [];
  let playing = null; // the part that is being played
  let turn = 0; // of playing: a newer one ends the older
  let busy = false;
  let rate = 1;
  const done = {
    get: () => Number(sessionStorage.getItem(DONE)) || 0,
    add: (count) => sessionStorage.setItem(DONE, String(Math.max(0, done.get() + count))),
  };

  // ---- playing
  function note(part) {
    const line = document.createElement("li");
    line.textContent = part.text;
    log.append(line);
    while (log.children.length > LOG_MOST) log.firstElementChild.remove();
    line.scrollIntoView({ block: "nearest" });
  }
  // Plays one part; whether it was heard to its end.
  function sound(part, mine) {
    return new Promise((resolve) => {
      player.onended = () => resolve(true);
      player.onerror = () => resolve(false);
      player.onpause = () => mine !== turn && resolve(false);
      player.ontimeupdate = () => mine === turn && wasHeard(part.kind);
      player.src = part.sound;
      player.playbackRate = rate;
      player.play().catch(() => resolve(false));
    });
  }
  // Whether so much of such a part was heard that it may be answered; also what is being played now counts.
  function wasHeard(kind) {
    const enough = ["proposal", "question"].includes(kind) && playing?.kind === kind && player.currentTime >= HEARD_S;
    if (enough) heard.add(kind);
    return heard.has(kind);
  }
  function hush() {
    turn += 1;
    queue = [];
    playing = null;
    player.pause();
  }
  async function play(parts, { first = null } = {}) {
    hush();
    const mine = turn;
    queue = [...parts];
    let place = 0;
    while (queue.length && mine === turn) {
      const part = queue.shift();
      if (first && place === first.at) first.begins();
      place += 1;
      playing = part;
      note(part);
      let whole = await sound(part, mine);
      if (!whole && mine === turn && player.error) {
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS)); // the voice was busy, or the line was away
        if (mine === turn) whole = await sound(part, mine);
      }
      if (mine !== turn) return;
      if (whole) heard.add(part.kind);
    }
    if (mine === turn) playing = null;
  }
  const begun = (parts) => void play(parts).catch(() => {}); // nobody waits for it: keys act meanwhile
  // Enter before the proposal was heard: straight to it.
  function toProposal() {
    if (playing && playing.kind === "proposal") return;
    begun(moment.parts.filter((part) => part.kind === "proposal"));
  }

  // ---- asking
  const PREPARED = new Audio(); // what is said where the server does not answer must be here before
  async function ask(path, body) {
    const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
    const answer = await fetch(path, options);
    const value = await answer.json();
    if (!Array.isArray(value.parts)) throw Object.assign(new Error(String(value.detail || answer.status)), { answer });
    return value;
  }
  async function phrase(name) {
    begun((await ask(`/api/ear/phrase?name=${name}`)).parts);
  }
  async function prepare() {
    if (PREPARED.src) return;
    PREPARED.preload = "auto";
    PREPARED.src = (await ask("/api/ear/phrase?name=no_server")).parts[0].sound;
    PREPARED.load();
  }
  function take(value, before = []) {
    offered = [];
    const at = before.length + (value.first || 0);
    const begins = () => {
      moment = value.id ? value : null;
      heard = new Set();
    };
    moment = null; // nothing is decided between two moments
    play([...before, ...value.parts], value.id ? { first: { at, begins } } : {}).catch(() => {});
  }
  async function next(before = []) {
    moment = null;
    const value = await ask("/api/ear/next", { done: done.get() });
    begin.textContent = value.id ? "Accept" : "Begin";
    take(value, before);
  }
  // The moment was erased meanwhile, or this person may see it no more: on to the next one. Whether that was told.
  async function isGone(error) {
    if (error.answer?.status !== 404 || !moment) return false;
    asking = null;
    await next((await ask("/api/ear/phrase?name=gone")).parts);
    return true;
  }
  const path = (what) => `/api/ear/${encodeURIComponent(moment.id)}/${what}`;
  async function act(name, text = "") {
    hush();
    const value = await ask(path("do"), { act: name, text, row_id: moment.row_id, done: done.get() });
    offered = value.offers;
    if (!value.go_on) {
      heard.delete("proposal");
      begun(value.parts);
      return;
    }
    if (!["skip", "difficult"].includes(name)) done.add(1); // what is skipped waits yet
    await next(value.parts);
  }

  async function askFirst(what) {
    hush();
    const value = await ask(path(what));
    heard.delete("question");
    asking = value.may ? { what, ...value } : null;
    offered = [];
    begun(value.parts);
  }
  const SENT = {
    delete: ({ told }) => ({ told }),
    blur: () => ({ done: done.get() }),
    alike: ({ chosen }) => ({ row_id: moment.row_id, chosen }),
  };
  async function carryOut() {
    hush();
    const asked = asking;
    asking = null;
    heard.delete("proposal"); // what was heard last was a question
    const value = await ask(path(asked.what), SENT[asked.what](asked));
    done.add(value.count || 0);
    if (value.id) take(value);
    else if (value.go_on) await next(value.parts);
    else begun(value.parts);
  }
  async function along(way) {
    const value = await ask(path(`walk?way=${way}&done=${done.get()}`));
    if (value.id) take(value);
    else begun(value.parts);
  }

  // ---- what each key does
  async function enter() {
    await prepare();
    if (!moment) {
      if (!queue.length) await next();
      return;
    }
    if (asking) {
      if (wasHeard("question")) await carryOut();
      else if (!playing || playing.kind !== "question") begun(asking.parts.filter((part) => part.kind === "question"));
      return;
    }
    if (offered.length) {
      if (offered.length === 1 && wasHeard("proposal")) await act("edit", offered[0]);
      return; // of several a number is chosen
    }
    if (!moment.acceptable && !moment.to_confirm) {
      await phrase("nothing_here");
      return;
    }
    if (!wasHeard("proposal")) {
      toProposal();
      return;
    }
    if (moment.must_hear && !heard.has("wearer")) {
      const [first, again] = [await ask("/api/ear/phrase?name=unheard"), await ask(path("say?what=wearer"))];
      begun([...first.parts, ...again.parts]);
      return;
    }
    if (moment.to_confirm) await act("edit", moment.to_confirm);
    else await act("accept");
  }
  async function number(key) {
    if (offered.length > 1 && offered[key - 1]) {
      await act("edit", offered[key - 1]);
      return;
    }
    const value = await ask(path(`say?what=${key}`));
    offered = moment.choices[key - 1] ? [moment.choices[key - 1]] : [];
    heard.delete("proposal");
    begun(value.parts);
  }
  function type() {
    edit.hidden = false;
    field.value = "";
    field.focus();
    phrase("typing").catch(() => {});
  }
  function leaveField() {
    edit.hidden = true;
    document.getElementById("title").focus();
  }
  function leave() {
    const was = offered.length > 0 || asking !== null;
    asking = null;
    if (was) heard.delete("proposal"); // what was heard last was another wording
    offered = [];
    hush();
    if (was) phrase("left").catch(() => {});
  }
  function pause() {
    if (player.paused && player.src && !player.ended) player.play().catch(() => {});
    else player.pause();
  }
  function faster(step) {
    rate = RATES[Math.min(RATES.length - 1, Math.max(0, RATES.indexOf(rate) + step))];
    player.playbackRate = rate;
  }
  const again = () => take({ ...moment, first: 0 });
  const ACTIONS = {
    enter, accept: enter, edit: type,
    nothing: () => act("nothing"),
    reject: () => act("reject"),
    skip: () => act("skip"),
    difficult: () => act("difficult"),
    delete: () => askFirst("delete"),
    blur: () => askFirst("blur"),
    alike: () => askFirst("alike"),
    next: () => along("next"),
    previous: () => along("previous"),
    undo: async () => {
      await prepare();
      const value = await ask("/api/ear/undo", { done: done.get() });
      if (value.refused) {
        begun(value.parts);
        return;
      }
      done.add(-value.count);
      take(value);
    },
    replay: again,
    voice: async () => begun((await ask(path("say?what=wearer"))).parts),
    help: () => phrase("help"),
    pause: () => pause(),
  };
  const ANYTIME = ["enter", "accept", "undo", "help", "pause"];
  async function run(name) {
    const known = Object.hasOwn(ACTIONS, name) || /^[1-9]$/.test(name);
    if (busy) return;
    busy = true;
    if (asking && !["enter", "accept", "pause"].includes(name)) {
      asking = null;
      heard.delete("proposal"); // what was heard last was another thing
    }
    try {
      if (!known) await phrase("key");
      else if (!moment && !ANYTIME.includes(name)) await (queue.length ? null : ACTIONS.enter());
      else if (/^[1-9]$/.test(name)) await number(Number(name));
      else await ACTIONS[name]();
    } catch (error) {
      hush();
      if (await isGone(error).catch(() => false)) return;
      note({ text: `Not saved: ${error.message}` });
      PREPARED.currentTime = 0;
      PREPARED.play().catch(() => {});
    } finally {
      busy = false;
    }
  }

  document.addEventListener("keydown", (event) => {
    const at = event.target instanceof Element ? event.target : document.body;
    if (dialog.open) return;
    if (at === field) {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      const text = field.value;
      leaveField();
      if (event.key === "Enter" && text.trim() && moment) run("typed");
      else leave();
      return;
    }
    if (at.matches("input, a[href], summary") || (at.matches("button") && ["Enter", " "].includes(event.key))) return;
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || !keys.isOn()) return;
    const name = keys.action(event) || { Escape: "escape", Delete: "delete", " ": "pause", "+": "faster", "-": "slower", h: "help" }[event.key];
    if (!name) return;
    event.preventDefault();
    if (name === "escape") leave();
    else if (name === "faster" || name === "slower") faster(name === "faster" ? 1 : -1);
    else if (name === "pause") pause();
    else run(name);
  });
  ACTIONS.typed = () => act("edit", field.value);
  edit.addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-ear-do]")) {
    button.addEventListener("click", () => (button.dataset.earDo === "pause" ? pause() : run(button.dataset.earDo)));
  }
  times(document);
})();
