// The page on which keys are chosen: press "Change", then the key.
"use strict";
(() => {
  const { keys } = window.waycue;
  const status = document.getElementById("status");
  let waiting = null;
  const say = (text) => {
    status.textContent = text;
  };
  document.getElementById("use-keys").addEventListener("change", (event) => {
    keys.turn(event.target.checked);
    say(event.target.checked ? "Keys are on." : "Keys are off.");
  });
  for (const button of document.querySelectorAll("[data-change]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      waiting = button;
      say("Press the new key. Escape leaves it as it is.");
    });
  }
  document.addEventListener("keydown", (event) => {
    if (!waiting || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Shift") return;
    event.preventDefault();
    const name = waiting.dataset.change;
    if (event.key === "Escape") {
      waiting = null;
      say("It stays as it was.");
      return;
    }
    const reason = keys.objection(name, keys.plain(event.key));
    if (reason) {
      say(`${reason} Press another, or Escape.`);
      return;
    }
    keys.set(name, event.key);
    waiting = null;
    say(`The key is ${keys.label(name)} now.`);
  });
  const reset = document.getElementById("reset-keys");
  reset.disabled = false;
  reset.addEventListener("click", () => {
    keys.reset();
    say("All keys are as they were at first.");
  });
})();
