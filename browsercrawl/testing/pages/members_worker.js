// Handles nothing: that it is there, and under which address, is all the store page asks.
addEventListener("install", () => skipWaiting());
