"use strict";

// What a person has opened stays open when its surroundings are replaced.
let opened = [];
document.addEventListener("htmx:beforeSwap", () => {
  opened = [...document.querySelectorAll("details[id][open]")].map((one) => one.id);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
});

// A part of a clip's time line leads to its moment.
document.addEventListener("click", (event) => {
  const part = event.target.closest("[data-seek]");
  const video = document.querySelector("video");
  if (!part || !video) return;
  video.currentTime = Number(part.dataset.seek);
  video.scrollIntoView({ block: "nearest" });
});

// A link to a clip is good for minutes: once it has expired, the player gets a new one and goes on.
document.addEventListener("error", (event) => {
  const video = event.target;
  if (!(video instanceof HTMLVideoElement) || !(video.currentTime > 0)) return;
  const { currentTime, paused } = video;
  video.load();
  video.currentTime = currentTime;
  if (!paused) video.play();
}, true);
