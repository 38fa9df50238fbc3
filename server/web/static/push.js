// Has this browser told by web push: asks the person, subscribes with the server's key, and tells the server.
"use strict";
(() => {
  const box = document.getElementById("push");
  const button = document.getElementById("push-on");
  const say = (text) => (document.getElementById("push-status").textContent = text);
  const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const text = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  function key() {
    const plain = atob(box.dataset.key.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (sign) => sign.charCodeAt(0));
  }

  // The line of this browser among those that the server knows; undefined = it does not.
  async function line(subscription) {
    const hash = hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(subscription.endpoint)));
    return [...document.querySelectorAll("[data-hash]")].find((item) => item.dataset.hash === hash);
  }

  async function subscribed(registration) {
    const options = { userVisibleOnly: true, applicationServerKey: key() };
    const before = await registration.pushManager.getSubscription();
    if (before && text(before.options.applicationServerKey || new ArrayBuffer(0)) !== box.dataset.key) await before.unsubscribe(); // of a former key of the server
    return registration.pushManager.subscribe(options);
  }

  async function turnOn() {
    if ((await Notification.requestPermission()) !== "granted") {
      return say("This browser does not let this page tell you anything. It can be allowed in the browser's settings of this site.");
    }
    say("One moment …");
    const subscription = await subscribed(await navigator.serviceWorker.ready);
    const told = new URLSearchParams({
      endpoint: subscription.endpoint,
      p256dh: text(subscription.getKey("p256dh")),
      auth: text(subscription.getKey("auth")),
    });
    const answer = await fetch(location.pathname, { method: "POST", body: told });
    if (answer.ok) return location.assign(answer.url);
    await subscription.unsubscribe();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    say(page.querySelector(".error")?.textContent || `The server answered ${answer.status}.`);
  }

  async function begin() {
    if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) {
      return say(window.isSecureContext
        ? "This browser has no web push. On an iPhone, put this page on the home screen first."
        : "Web push needs https: this page was opened without it.");
    }
    const registration = await navigator.serviceWorker.ready;
    const subscription = await registration.pushManager.getSubscription();
    const own = subscription && (await line(subscription));
    if (own) {
      own.querySelector("span").append(" (this browser)");
      return say("This browser is told.");
    }
    button.hidden = false;
  }

  button.addEventListener("click", () => {
    button.disabled = true;
    turnOn()
      .catch((error) => say(`It did not work: ${error.message}`))
      .finally(() => (button.disabled = false));
  });
  begin().catch((error) => say(`It did not work: ${error.message}`));
})();
