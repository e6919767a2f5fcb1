"use strict";
// Keeps the page for use without a network, and gives it the headers that a plain host of files
// does not: threads need the isolation, and the policy lets no request leave this host.
const FILES = @FILES@;
const HEADERS = @HEADERS@;
// A new version has another name, so that files of two versions never mix.
const SCOPE = self.registration.scope, CACHE = `pocketlens ${SCOPE} @VERSION@`;

self.addEventListener("install", event => event.waitUntil((async () => {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map(file => new Request(file, { cache: "reload" })));
  await self.skipWaiting();
})()));

self.addEventListener("activate", event => event.waitUntil((async () => {
  const names = (await caches.keys()).filter(name => name.startsWith(`pocketlens ${SCOPE} `));
  await Promise.all(names.filter(name => name !== CACHE).map(name => caches.delete(name)));
  await self.clients.claim();
})()));

self.addEventListener("fetch", event => {
  const url = new URL(event.request.url);
  const inside = url.href.startsWith(SCOPE);
  if (event.request.method === "GET" && inside) event.respondWith(answer(url));
});

/** The file from the cache, else from the server, and then it is kept. */
async function answer(url) {
  const path = url.origin + url.pathname;
  const key = path === `${SCOPE}index.html` ? SCOPE : path;
  const cache = await caches.open(CACHE);
  let response = await cache.match(key);
  if (!response) {
    response = await fetch(key, { cache: "no-cache" });
    if (!response.ok) return response;
    // A full disk is no reason to have no answer.
    await cache.put(key, response.clone()).catch(() => {});
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}
