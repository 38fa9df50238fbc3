// Makes the review quicker; the page works without it. Decisions go through the JSON API so that a list stays where it
// is, single keys act on the marked moment, and times are shown in the reader's own zone.
"use strict";
(() => {
  const KEYS_SETTING = "waycue.keys";
  const list = document.getElementById("moments");
  const status = document.getElementById("status");
  const dialog = document.getElementById("keys");
  const keysOn = document.getElementById("keys-on");
  const showKeys = document.getElementById("show-keys");
  const moments = () => [...document.querySelectorAll(".moment")];

  // ---- the marked moment: where the keyboard is, else where it last was, else the first
  let marked = null;
  function mark(moment) {
    marked = moment;
    for (const other of moments()) other.classList.toggle("now", other === moment);
  }
  const current = () => (marked && marked.isConnected ? marked : moments()[0] || null);
  function goTo(moment) {
    mark(moment);
    const title = moment.querySelector(".title");
    title.focus({ preventScroll: true });
    moment.scrollIntoView({ block: "start" });
  }
  function next(moment) {
    const all = moments();
    return all[all.indexOf(moment) + 1] || null;
  }
  document.addEventListener("focusin", (event) => {
    const moment = event.target.closest(".moment");
    if (moment) mark(moment);
  });
  document.addEventListener("click", (event) => {
    const moment = event.target.closest(".moment");
    if (moment) mark(moment);
    const skip = event.target.closest("[data-next]");
    if (skip && moment && next(moment)) {
      event.preventDefault();
      goTo(next(moment));
    }
  });

  // ---- saying what happened
  function say(text, { bad = false, change = "" } = {}) {
    status.classList.toggle("bad", bad);
    status.textContent = text;
    if (!change) return;
    const link = document.createElement("a");
    link.href = `/moments/${encodeURIComponent(change)}`;
    link.textContent = "Change";
    status.append(" ", link);
  }
  function inWords(row, typed) {
    if (row.state === "rejected") return "Rejected: this moment will not teach the device.";
    if (row.state === "pending") return "This moment is waiting for a review again.";
    if (!row.ground_truth) return "Confirmed: nothing should be said.";
    const plain = (text) => text.toLowerCase().replace(/[^a-z]+/g, " ").trim();
    const changed = typed && plain(typed) !== plain(row.ground_truth);
    return `Confirmed: “${row.ground_truth}”` + (changed ? `, from your words “${typed.trim()}”.` : "");
  }
  function count(state, change) {
    const shown = document.querySelector(`[data-count="${state}"]`);
    shown.textContent = String(Math.max(0, Number(shown.textContent) + change));
  }
  const FIELD = "input[type=text][name=text]";
  function complain(moment, text) {
    const field = moment.querySelector(FIELD);
    moment.querySelector("[data-error]").textContent = text;
    if (text) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    if (!text) return;
    field.focus({ preventScroll: true });
    field.scrollIntoView({ block: "center" }); // the sentence above it has just moved it
  }

  // ---- words that would be taught as others: read, then chosen with a button of their own, never by the same Enter
  function paragraph(className, ...parts) {
    const made = document.createElement("p");
    made.className = className;
    made.append(...parts);
    return made;
  }
  function quoted(text) {
    const made = document.createElement("q");
    made.textContent = text;
    return made;
  }
  function teaching(moment, text, label) {
    const form = moment.querySelector("template[data-teach]").content.firstElementChild.cloneNode(true);
    form.elements.text.value = text;
    form.lastElementChild.textContent = label;
    return form;
  }
  function withdraw(moment) {
    const box = moment.querySelector("[data-offer]");
    box.hidden = true;
    box.querySelector("[data-offer-words]").replaceChildren();
    box.querySelector("[data-offer-choices]").replaceChildren();
  }
  function offer(moment, typed, { wording, lost, suggestions, detail }) {
    const box = moment.querySelector("[data-offer]");
    const words = box.querySelector("[data-offer-words]");
    const choices = box.querySelector("[data-offer-choices]");
    if (wording) {
      const arrow = document.createElement("span");
      arrow.setAttribute("aria-hidden", "true");
      arrow.textContent = "→ ";
      words.append(typed ? paragraph("", "You wrote ", quoted(typed.trim())) : paragraph("", detail));
      words.append(paragraph("becomes", arrow, "It will be taught as ", quoted(wording)));
      if (lost.length) words.append(paragraph("lost", `Left out: ${lost.join(", ")}.`));
      choices.append(teaching(moment, wording, "Teach this wording"));
      choices.querySelector("button").classList.add("main");
    } else {
      words.append(paragraph("", "Choose what you meant, or type something else:"));
      choices.append(...suggestions.map((sentence) => teaching(moment, sentence, `Teach “${sentence}”`)));
    }
    box.hidden = false;
    if (!wording) return; // the reason stands at the field, where the person goes on
    box.focus({ preventScroll: true });
    box.scrollIntoView({ block: "center" });
  }
  function notTaken(moment, typed, body) {
    if (!body.wording) complain(moment, body.detail);
    if (body.wording || (body.suggestions || []).length) offer(moment, typed, body);
  }

  // ---- decisions
  async function decide(moment, form, action) {
    if (moment.getAttribute("aria-busy") === "true") return;
    const typed = action === "edit" ? form.elements.text.value : "";
    moment.setAttribute("aria-busy", "true");
    complain(moment, "");
    withdraw(moment);
    try {
      const answer = await fetch(`/api/samples/${encodeURIComponent(moment.dataset.id)}/review`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ action, text: typed, row_id: form.elements.row_id.value }),
      });
      const body = await answer.json();
      if (answer.ok) settle(moment, body, typed);
      else if (answer.status === 422) notTaken(moment, typed, body);
      else if (answer.status === 409) location.assign(`/moments/${encodeURIComponent(moment.dataset.id)}?changed=1`);
      else say(`Not saved. ${body.detail}`, { bad: true });
    } catch (error) {
      say("Not saved: the server did not answer. Check the connection and try again.", { bad: true });
    } finally {
      moment.removeAttribute("aria-busy");
    }
  }
  function settle(moment, row, typed) {
    const after = next(moment) || moments().filter((other) => other !== moment).pop() || null;
    count(moment.dataset.state, -1);
    count(row.state, 1);
    moment.remove();
    if (!after) {
      location.replace(`/?state=${list.dataset.state}&page=${list.dataset.page}&done=${encodeURIComponent(row.sample_id)}`);
      return;
    }
    say(inWords(row, typed), { change: row.sample_id });
    goTo(after);
  }
  if (list) {
    list.addEventListener("submit", (event) => {
      if (!event.target.dataset.form) return; // no decision: it is sent as it is
      event.preventDefault();
      decide(event.target.closest(".moment"), event.target, event.submitter.value);
    });
  }

  // ---- several at once: all of a group are ticked or none
  for (const button of document.querySelectorAll("[data-tick]")) {
    const boxes = () => [...button.form.querySelectorAll("input[type=checkbox]")];
    const name = () => {
      button.textContent = boxes().every((box) => box.checked) ? "Tick none" : "Tick all";
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      const all = !boxes().every((box) => box.checked);
      for (const box of boxes()) box.checked = all;
      name();
    });
    button.form.addEventListener("change", name);
    name();
  }

  // ---- sound
  let playing = [];
  function silence() {
    for (const player of playing) {
      player.onended = null;
      player.pause();
    }
    playing = [];
  }
  function replay(moment) {
    silence();
    const [sound, voice, clip] = ["[data-sound]", "[data-voice]", "video"].map((what) => moment.querySelector(what));
    playing = [sound, voice, clip].filter(Boolean);
    for (const player of playing) player.currentTime = 0;
    const start = (player) => player.play().catch(() => say("The sound could not be played.", { bad: true }));
    if (voice) sound.onended = () => start(voice);
    if (clip) clip.play().catch(() => {});
    start(sound);
  }

  // ---- keys; they can be turned off (WCAG 2.1.4), and are never taken from a field, a button or a player
  const remembered = () => {
    try {
      return localStorage.getItem(KEYS_SETTING) !== "off";
    } catch (error) {
      return true;
    }
  };
  keysOn.checked = remembered();
  keysOn.addEventListener("change", () => {
    try {
      localStorage.setItem(KEYS_SETTING, keysOn.checked ? "on" : "off");
    } catch (error) {
      // Storage is forbidden here: the choice holds until the page is left.
    }
  });
  showKeys.hidden = false;
  showKeys.addEventListener("click", () => dialog.showModal());

  const press = (moment, action) => moment.querySelector(`button[value=${action}]`)?.click();
  const ACTIONS = {
    Enter: (moment) => {
      const waits = moment.querySelector("[data-offer]:not([hidden])");
      if (!waits) press(moment, "accept");
      else say("Choose a wording with its button, or go on typing.", { bad: true });
    },
    e: (moment) => {
      const field = moment.querySelector(FIELD);
      field.focus();
      field.select();
    },
    n: (moment) => press(moment, "nothing"),
    x: (moment) => press(moment, "reject"),
    s: (moment) => (next(moment) ? goTo(next(moment)) : say("This is the last moment on this page.")),
    r: replay,
  };
  const TYPING = "input, textarea, select, [contenteditable]";
  const OWN_KEYS = "a[href], button, audio, video, summary";
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.matches(FIELD)) {
      event.target.closest(".moment").querySelector(".title").focus();
      return;
    }
    const modified = event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing;
    if (!keysOn.checked || modified || event.defaultPrevented || dialog.open || event.target.matches(TYPING)) return;
    if (event.key === "?") {
      event.preventDefault();
      dialog.showModal();
      return;
    }
    if (event.key === "Enter" && event.target.matches(OWN_KEYS)) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const moment = current();
    if (!moment || !Object.hasOwn(ACTIONS, name)) return;
    event.preventDefault();
    ACTIONS[name](moment);
  });

  // ---- times in the reader's zone
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[datetime]")) time.textContent = format.format(new Date(time.dateTime));
  if (moments().length) mark(moments()[0]);
})();
