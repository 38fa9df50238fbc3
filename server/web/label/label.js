// One chunk after the other: shows what waits for an answer, sends the answer, and follows what the terminal answers.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const field = $("text"), error = $("error"), offers = $("offers"), status = $("status");
  let now = null, chosen = {}, checking = 0;

  async function post(path, value) {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
    });
    return { status: answer.status, body: await answer.json() };
  }
  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  // ---- the chunk that is asked
  function show(state) {
    now = state;
    $("work").hidden = state.done;
    const whole = state.counts.map((c) => `${c.name}: ${c.labelled} labelled, ${c.skipped} skipped, ${c.left} to go`);
    $("progress").textContent = whole.join(" · ");
    if (state.done) {
      $("title").textContent = "That is all. This page can be closed.";
      document.title = "Done – waycue";
      $("title").focus();
      return;
    }
    const of = state.place[1] > 1 ? `, video ${state.place[0]} of ${state.place[1]}` : "";
    $("title").textContent = `Chunk ${state.chunk} of ${state.chunks} of ${state.video}${of}`;
    document.title = `Chunk ${state.chunk} of ${state.chunks} – waycue`;
    $("frame").src = `frame/${state.turn}.jpg`;
    $("audio").src = `audio/${state.turn}.wav`;
    $("audio").play().catch(() => {}); // browsers play only after the first key or click
    $("clip").open = false;
    $("film").hidden = false;
    $("no-film").hidden = true;
    $("film").removeAttribute("src");
    $("rules").textContent = state.rules;
    $("note").textContent = state.note;
    $("suggested").hidden = !state.suggestion;
    $("suggestion").textContent = state.suggestion;
    $("earlier").hidden = !state.earlier && !state.skipped;
    $("earlier-text").textContent = state.skipped ? "skipped" : state.earlier;
    field.value = "";
    field.placeholder = state.suggestion || "Stop, curb ahead.";
    complain("");
    check();
    conditions(state);
    field.focus();
  }
  $("clip").addEventListener("toggle", () => {
    if (!$("clip").open || $("film").src) return;
    $("film").src = `film/${now.place[0] - 1}#t=${now.span_s[0]},${now.span_s[1]}`;
    $("film").play().catch(() => {});
  });
  $("film").addEventListener("error", () => {
    $("film").hidden = true;
    $("no-film").hidden = false;
  });

  // ---- where and when: what was chosen comes with the next chunk again, until changed
  function conditions(state) {
    const box = $("conditions");
    if (!box.querySelector("select")) {
      for (const [name, values] of Object.entries(state.choices)) {
        const cell = document.createElement("div"), label = document.createElement("label");
        const select = document.createElement("select"), guess = document.createElement("span");
        label.htmlFor = select.id = `c-${name}`;
        label.textContent = name[0].toUpperCase() + name.slice(1);
        select.append(new Option("not said", ""), ...values.map((value) => new Option(value, value)));
        select.addEventListener("change", () => { chosen[name] = select.value; });
        guess.className = "guess";
        guess.id = `g-${name}`;
        select.setAttribute("aria-describedby", guess.id);
        cell.append(label, select, guess);
        box.append(cell);
      }
    }
    for (const name of Object.keys(state.choices)) {
      const select = $(`c-${name}`), guess = $(`g-${name}`), value = state.guesses[name];
      select.value = state.fields[`${name}_from`] === "person" ? state.fields[name] : "";
      chosen[name] = select.value;
      guess.textContent = "";
      if (value && value !== select.value) {
        guess.append(`Guess: ${value} `, button("Right", () => {
          chosen[name] = select.value = value;
          guess.textContent = "";
          select.focus();
        }));
        guess.lastChild.setAttribute("aria-label", `${name}: ${value} is right`);
      }
    }
  }

  // ---- the rules, while one types
  async function check() {
    const mine = ++checking, { body } = await post("check", { text: field.value });
    if (mine !== checking) return;
    $("checks").replaceChildren(...body.checks.map((item) => {
      const line = document.createElement("li");
      line.className = item.kept ? "kept" : "broken";
      line.textContent = `${item.kept ? "✓" : "✗"} ${item.said}`;
      return line;
    }));
  }
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, 250);
    complain("");
  });
  function complain(text) {
    error.textContent = text;
    field.toggleAttribute("aria-invalid", Boolean(text));
    offers.replaceChildren();
  }

  // ---- answers
  let sending = false;
  async function answer(action, text = "", keep = false) {
    if (sending) return;
    sending = true;
    try {
      const { status: code, body } = await post("answer", { turn: now.turn, action, text, keep, fields: chosen });
      if (code === 200) {
        status.classList.remove("bad");
        status.textContent = body.said;
        return;
      }
      complain(typeof body.detail === "string" ? body.detail : "This can not be taken.");
      if (code === 422 && body.suggestions) {
        const sentences = [...new Set([body.wording, ...body.suggestions].filter(Boolean))];
        offers.replaceChildren(
          ...sentences.map((sentence) => button(`Teach “${sentence}”`, () => answer("save", sentence))),
          button("Keep my words (they teach nothing)", () => answer("save", text, true)),
        );
      }
      field.focus();
    } catch {
      complain("The answer did not arrive: is the labelling still running in the terminal?");
    } finally {
      sending = false;
    }
  }
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim() || now.suggestion;
    if (text) answer("save", text);
    else complain("Type what should be said, or choose “Nothing should be said”.");
  });
  for (const other of document.querySelectorAll("[data-do]")) {
    other.addEventListener("click", () => {
      const action = other.dataset.do;
      if (action === "nothing") answer("save", now.clear);
      else answer(action);
    });
  }

  // ---- what is asked now: one request waits until that changes, whoever answers
  async function follow() {
    for (let after = -1; ;) {
      try {
        const answer = await fetch(`state?after=${after}`);
        if (!answer.ok) throw new Error(answer.status);
        const state = await answer.json();
        if (state.turn !== after || state.done) show(state);
        after = state.turn;
        if (state.done) return;
      } catch {
        if (now && now.done) return;
        status.classList.add("bad");
        status.textContent = "The labelling has ended, or does not answer. What was answered is kept.";
        await new Promise((later) => setTimeout(later, 1500));
        if (after >= 0 && !(await fetch("state?after=-1").then((a) => a.ok, () => false))) return;
      }
    }
  }
  follow();
})();
