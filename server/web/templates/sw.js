// Keeps the shell of the pages: style, scripts, icons, and the page that says that there is no connection. Nothing of a
// moment is ever kept here: what a wearer has had erased would lie in it. Decisions made offline: static/offline.js.
"use strict";
const SHELL = "waycue-{{ version }}";
const FILES = {{ files|tojson }};
const OFFLINE = "/offline";
self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll([...FILES, OFFLINE])).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => {
  const drop = async () => {
    for (const name of await caches.keys()) if (name.startsWith("waycue-") && name !== SHELL) await caches.delete(name);
    await self.clients.claim();
  };
  event.waitUntil(drop());
});
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (FILES.includes(url.pathname + url.search)) {
    event.respondWith(caches.match(request).then((kept) => kept || fetch(request)));
  } else if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
  }
});

// ---- web push: what the server says is shown as it is; it names no moment, and opens the first page
self.addEventListener("push", (event) => {
  let told = {};
  try {
    told = event.data.json();
  } catch (error) {
    // a browser shows a message of its own where none is shown here
  }
  const shown = { body: String(told.body || "Something waits for you."), icon: "/static/icon-192.png", lang: "en" };
  event.waitUntil(self.registration.showNotification(String(told.title || "waycue"), shown));
});
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const open = async () => {
    const tabs = await self.clients.matchAll({ type: "window" });
    return tabs.length ? tabs[0].focus() : self.clients.openWindow("/");
  };
  event.waitUntil(open());
});
