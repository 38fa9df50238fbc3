// Which key means what. Single keys can be switched off and changed (WCAG 2.1.4); the choice is kept in this browser.
// A key with Shift, Ctrl, Alt or Meta is never one of ours: Shift+Enter accepts nothing.
"use strict";
window.waycue = window.waycue || {};
(() => {
  const SETTING = "waycue.keys";
  const FIRST = {
    accept: "Enter", edit: "e", nothing: "n", reject: "t", skip: "s", undo: "u", difficult: "d", blur: "b", alike: "x",
    replay: "r", voice: "w", next: "j", previous: "k", help: "?",
  };
  const FIXED = "123456789".split("");

  function read() {
    let kept = null;
    try {
      kept = localStorage.getItem(SETTING);
    } catch (error) {
      return { on: true, keys: { ...FIRST } }; // storage is forbidden here
    }
    if (kept === "off" || kept === "on") return { on: kept === "on", keys: { ...FIRST } }; // as it was kept before
    try {
      const { on, keys } = JSON.parse(kept);
      const own = Object.entries(keys).filter(([name, key]) => Object.hasOwn(FIRST, name) && typeof key === "string");
      return { on: on !== false, keys: { ...FIRST, ...Object.fromEntries(own) } };
    } catch (error) {
      return { on: true, keys: { ...FIRST } };
    }
  }
  let setting = read();
  function keep() {
    try {
      localStorage.setItem(SETTING, JSON.stringify(setting));
    } catch (error) {
      // The choice holds until the page is left.
    }
    show();
  }
  const label = (name) => (setting.keys[name].length === 1 ? setting.keys[name].toUpperCase() : setting.keys[name]);
  function show() {
    for (const shown of document.querySelectorAll("kbd[data-key]")) {
      shown.textContent = label(shown.dataset.key);
      shown.classList.toggle("off", !setting.on);
    }
    for (const box of document.querySelectorAll("#keys-on, #use-keys")) box.checked = setting.on;
  }
  const plain = (key) => (key.length === 1 ? key.toLowerCase() : key);

  // The name of what a key event asks for, "1" to "9" for a wording, null for none of ours.
  function action(event) {
    const sign = event.key.length === 1 && event.key.toLowerCase() === event.key.toUpperCase(); // "?" needs Shift
    if (event.ctrlKey || event.altKey || event.metaKey || (event.shiftKey && !sign)) return null;
    if (!setting.on || event.repeat || event.isComposing || event.defaultPrevented) return null;
    const key = plain(event.key);
    if (FIXED.includes(key)) return event.shiftKey ? null : key;
    return Object.keys(setting.keys).find((name) => setting.keys[name] === key) || null;
  }

  // Why a key can not be taken for this, "" where it can.
  function objection(name, key) {
    if (FIXED.includes(key)) return "The numbers choose a wording.";
    if (["Tab", "Escape", "Shift", "Control", "Alt", "Meta", "CapsLock", "Unidentified", "Dead"].includes(key)) return "This key can not be used.";
    const other = Object.keys(setting.keys).find((one) => one !== name && setting.keys[one] === key);
    return other ? `This key is used already: ${other}.` : "";
  }

  window.waycue.keys = {
    action, label, objection, plain, show,
    isOn: () => setting.on,
    turn(on) {
      setting.on = on;
      keep();
    },
    set(name, key) {
      setting.keys[name] = plain(key);
      keep();
    },
    reset() {
      setting = { on: setting.on, keys: { ...FIRST } };
      keep();
    },
  };
  window.addEventListener("storage", () => {
    setting = read();
    show();
  });
  show();

  // ---- the overlay, on every page that has one
  const dialog = document.getElementById("keys");
  const open = document.getElementById("show-keys");
  document.getElementById("keys-on").addEventListener("change", (event) => window.waycue.keys.turn(event.target.checked));
  if (open) {
    open.hidden = false;
    open.addEventListener("click", () => dialog.showModal());
  }

  // ---- times in the reader's zone
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });
  const exact = {
    seconds: new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" }), // moments are 2 s apart
    time: new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }),
  };
  window.waycue.times = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      time.textContent = (exact[time.dataset.shown] || format).format(new Date(time.dateTime));
    }
  };
  window.waycue.times(document);
})();
