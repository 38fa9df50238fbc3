// Makes the review quicker; the pages work without it. Decisions go through the JSON API, the next moment comes without
// a new page, single keys press the buttons that are there, and a decision without a connection is kept.
"use strict";
(() => {
  const { keys, offline, player, times } = window.waycue;
  const LIVE_MS = 250; // between the last letter and the check of the words
  const RENEW_MS = 60000; // a lease holds three minutes
  const FIELD = "input[type=text][name=text]";
  const dialog = document.getElementById("keys");
  const main = document.querySelector("#main > .wide");
  const current = () => document.querySelector(".moment");
  const find = (what) => main.querySelector(what);

  // ---- saying what happened
  function say(text, { bad = false, change = "" } = {}) {
    const status = document.getElementById("status");
    if (!status) return;
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

  // ---- another page in the same document, so that what is said and where the sound plays goes on
  async function show(url, { replace = false } = {}) {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("#main > .wide");
    if (!fresh || answer.redirected && new URL(answer.url).pathname !== new URL(url, location.href).pathname) {
      location.assign(url); // a page of another kind: a log-in, for one
      return;
    }
    player.silence();
    main.replaceChildren(...fresh.childNodes);
    const nav = document.querySelector("nav.tabs");
    if (nav && page.querySelector("nav.tabs")) nav.replaceWith(page.querySelector("nav.tabs"));
    document.title = page.title;
    if (replace) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
    dress();
    window.scrollTo(0, 0);
    find("#title")?.focus({ preventScroll: true });
  }
  window.addEventListener("popstate", () => show(location.href, { replace: true }).catch(() => location.reload()));
  const queue = () => {
    const within = find("input[name=within]")?.value || "";
    return within ? `/?${within}` : "/";
  };

  // ---- words: refused, or taken as others; read, then chosen with a button of their own, never by the same Enter
  function complain(text) {
    const field = find(FIELD);
    find("[data-error]").textContent = text;
    if (text) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    if (!text) return;
    field.focus({ preventScroll: true });
    field.scrollIntoView({ block: "center" });
  }
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
  function teaching(text, label) {
    const form = find("template[data-teach]").content.firstElementChild.cloneNode(true);
    form.elements.text.value = text;
    form.querySelector("button").textContent = label;
    return form;
  }
  function withdraw() {
    find("[data-offer]").hidden = true;
    find("[data-offer-words]").replaceChildren();
    find("[data-offer-choices]").replaceChildren();
  }
  function offer(typed, { wording, lost, suggestions, detail }) {
    const box = find("[data-offer]");
    const words = find("[data-offer-words]");
    const choices = find("[data-offer-choices]");
    if (wording) {
      const arrow = document.createElement("span");
      arrow.setAttribute("aria-hidden", "true");
      arrow.textContent = "→ ";
      words.append(typed ? paragraph("", "You wrote ", quoted(typed.trim())) : paragraph("", detail));
      words.append(paragraph("becomes", arrow, "It will be taught as ", quoted(wording)));
      if (lost.length) words.append(paragraph("lost", `Left out: ${lost.join(", ")}.`));
      choices.append(teaching(wording, "Teach this wording"));
      choices.querySelector("button").classList.add("main");
    } else {
      words.append(paragraph("", "Choose what you meant, or type something else:"));
      choices.append(...suggestions.map((sentence) => teaching(sentence, `Teach “${sentence}”`)));
    }
    box.hidden = false;
    if (!wording) return; // the reason stands at the field, where the person goes on
    box.focus({ preventScroll: true });
    box.scrollIntoView({ block: "center" });
  }
  function notTaken(typed, body) {
    if (!body.wording) complain(body.detail);
    if (body.wording || (body.suggestions || []).length) offer(typed, body);
  }

  // ---- checking words while they are typed
  let timer = 0;
  async function check(field) {
    const told = find("[data-live]");
    const typed = field.value;
    if (!typed.trim()) {
      told.textContent = "";
      return;
    }
    let body;
    try {
      body = await (await fetch(`/api/wording?text=${encodeURIComponent(typed)}`)).json();
    } catch (error) {
      return; // it is checked again when it is saved
    }
    if (find(FIELD) !== field || field.value !== typed || typeof body.wording !== "string") return;
    const taught = body.wording ? `Will be taught as “${body.wording}”` : `Can not be taught: ${body.problems.join("; ")}.`;
    told.textContent = body.lost.length ? `${taught} Left out: ${body.lost.join(", ")}.` : taught;
    told.classList.toggle("lost", !body.wording || body.lost.length > 0);
  }

  // ---- decisions
  const heard = new Set();
  const mustHear = (moment) => moment.hasAttribute("data-unsure") && !heard.has(moment.dataset.row);
  async function listen(moment) {
    if (moment.dataset.listening) return;
    moment.dataset.listening = "yes";
    say("It is unsure: listen first. Enter accepts it after that.");
    if (await player.replay(moment)) {
      heard.add(moment.dataset.row);
      if (current() === moment) say("Enter accepts it now.");
    } else if (current() === moment) say("The sound was not heard to its end. R plays it again.", { bad: true });
    delete moment.dataset.listening;
  }
  async function decide(moment, form, action) {
    if (moment.getAttribute("aria-busy") === "true") return;
    if (form.dataset.form === "accept" && mustHear(moment)) {
      await listen(moment);
      return;
    }
    const typed = action === "edit" ? form.elements.text.value : "";
    const decision = {
      sample_id: moment.dataset.id,
      read: moment.dataset.proposal,
      body: { action, text: typed, row_id: form.elements.row_id.value },
    };
    moment.setAttribute("aria-busy", "true");
    complain("");
    withdraw();
    try {
      await send(moment, decision, typed);
    } finally {
      moment.removeAttribute("aria-busy");
    }
  }
  async function send(moment, decision, typed) {
    let answer;
    try {
      answer = await fetch(`/api/samples/${encodeURIComponent(decision.sample_id)}/review`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(decision.body),
      });
    } catch (error) {
      await offline.remember(decision);
      await away(moment);
      return;
    }
    const body = await answer.json().catch(() => ({ detail: `The server answered ${answer.status}.` }));
    if (answer.ok) await settled(body, typed);
    else if (answer.status === 422) notTaken(typed, body);
    else if (answer.status === 409) await conflict(moment, decision, body);
    else say(`Not saved. ${body.detail}`, { bad: true });
  }
  async function settled(row, typed) {
    await show(queue());
    say(inWords(row, typed), { change: row.sample_id });
  }
  async function away(moment) {
    moment.remove();
    say("No connection. Your decision is kept on this machine and sent once the server answers.", { bad: true });
  }
  // Both wordings side by side; what the person had typed stands in the field again.
  async function conflict(moment, decision, body) {
    const typed = find(FIELD).value;
    await show(`/moments/${encodeURIComponent(decision.sample_id)}`, { replace: true });
    const box = document.createElement("section");
    box.className = "conflict";
    box.tabIndex = -1;
    box.setAttribute("aria-label", "Not saved: this moment has changed");
    box.append(paragraph("error", body.detail));
    const list = document.createElement("dl");
    const stands = body.stands || find(".wording")?.textContent.trim() || "";
    for (const [name, text] of [["You read", body.read || decision.read || "nothing should be said"], ["Now stands", stands]]) {
      const line = document.createElement("div");
      const [term, value] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      value.append(quoted(text));
      line.append(term, value);
      list.append(line);
    }
    box.append(list);
    find(".moment").before(box);
    if (decision.body.action === "edit") find(FIELD).value = typed;
    box.focus();
  }

  // ---- marks, undo and notes: forms, sent without leaving the page
  async function post(form, submitter) {
    const data = new URLSearchParams(new FormData(form, submitter));
    const answer = await fetch(form.getAttribute("action"), { method: "POST", body: data });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) {
      say(`Not done. ${page.querySelector(".error, [role=alert]")?.textContent.trim() || ""}`, { bad: true });
      return;
    }
    const told = page.getElementById("status")?.textContent.trim() || "";
    const { pathname, search } = new URL(answer.url);
    await show(pathname + search.replace(/([?&])told=[^&]*&?/, "$1").replace(/[?&]$/, ""), { replace: true });
    if (told) say(told);
  }
  main.addEventListener("submit", (event) => {
    const form = event.target;
    const kind = form.dataset.form;
    if (!kind) return; // it is sent as it is
    event.preventDefault();
    const failed = () => say("Not done: the server did not answer. Check the connection and try again.", { bad: true });
    if (["accept", "edit", "teach", "other"].includes(kind)) decide(form.closest(".moment"), form, event.submitter.value).catch(failed);
    else post(form, event.submitter).catch(failed);
  });

  // ---- those that look the same: their pictures are compared once this one is shown
  async function alike(moment) {
    const place = find("[data-alike]");
    if (!place) return;
    const answer = await fetch(place.querySelector("a").href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const section = page.querySelector("section.alike");
    if (current() !== moment || !place.isConnected) return;
    if (section) {
      place.replaceWith(section);
      times(section);
    } else place.remove();
    keys.show();
  }

  // ---- several at once: all of a group are ticked or none
  function ticking(button) {
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

  // ---- keys press what is there; never taken from a field, a button or a player
  const press = (name, otherwise) => {
    const button = find(`[data-do="${name}"]`);
    if (button) button.click();
    else say(otherwise, { bad: true });
  };
  const walk = (rel) => {
    const link = find(`.walk [rel=${rel}]`);
    if (link) link.click();
    else say(rel === "next" ? "This is the last moment of the walk." : "This is the first moment of the walk.");
  };
  const ACTIONS = {
    accept: () => {
      if (!find("[data-offer]:not([hidden])")) press("accept", "There is nothing to accept: choose a wording, or type one.");
      else say("Choose a wording with its button, or go on typing.", { bad: true });
    },
    edit: () => {
      const field = find(FIELD);
      field.focus();
      field.select();
    },
    nothing: () => press("nothing"),
    reject: () => press("reject", "It is rejected already."),
    skip: () => press("skip", "Only a moment that waits can be skipped."),
    undo: () => press("undo", "There is nothing to undo."),
    difficult: () => press("difficult"),
    blur: () => press("blur", "This server can not blur pictures from here."),
    alike: () => press("alike", "No other moment looks the same, or there is nothing to accept."),
    replay: () => current() && player.replay(current()).then((all) => all && current() && heard.add(current().dataset.row)),
    voice: () => current() && player.replay(current(), { voiceOnly: true }).then((all) => all && current() && heard.add(current().dataset.row)),
    next: () => walk("next"),
    previous: () => walk("prev"),
  };
  const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable]";
  const OWN_KEYS = "a[href], button, audio, video, summary, input";
  document.addEventListener("keydown", (event) => {
    const at = event.target instanceof Element ? event.target : document.body;
    if (event.key === "Escape" && at.matches(FIELD)) {
      find("#title").focus();
      return;
    }
    if (dialog.open || at.matches(TYPING)) return;
    const name = keys.action(event);
    if (!name) return;
    if (["Enter", " "].includes(event.key) && at.matches(OWN_KEYS)) return;
    if (name === "help") {
      event.preventDefault();
      dialog.showModal();
      return;
    }
    if (!current() && name !== "undo") return;
    event.preventDefault();
    if (Object.hasOwn(ACTIONS, name)) ACTIONS[name]();
    else press(`choice-${name}`, `There is no wording ${name}.`);
  });

  // ---- what a new page needs
  function dress() {
    times(main);
    keys.show();
    for (const box of main.querySelectorAll("[data-without-script]")) box.remove();
    for (const button of main.querySelectorAll("[data-tick]")) ticking(button);
    const moment = current();
    if (!moment) return;
    player.join(moment);
    find("[data-voice]")?.addEventListener("ended", () => heard.add(moment.dataset.row));
    alike(moment).catch(() => {}); // the link to them is there
    find(FIELD).addEventListener("input", (event) => {
      clearTimeout(timer);
      timer = setTimeout(() => check(event.target), LIVE_MS);
    });
  }
  setInterval(() => {
    const moment = current();
    if (!moment || moment.dataset.state !== "pending" || document.hidden) return;
    fetch(`/api/samples/${encodeURIComponent(moment.dataset.id)}/lease`, { method: "POST" }).catch(() => {});
  }, RENEW_MS);
  dress();
})();
