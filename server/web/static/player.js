// Clip and sound as one player: the clip's own controls play both, the sound follows its place, pace and end. Without a
// clip, or without this script, the sound has controls of its own.
"use strict";
window.waycue = window.waycue || {};
(() => {
  const DRIFT_S = 0.15; // lips and steps are seen to be late from here on

  function join(moment) {
    const clip = moment.querySelector("[data-clip]");
    const sound = moment.querySelector("[data-sound]");
    if (!clip || !sound || clip.dataset.joined) return;
    clip.dataset.joined = "yes";
    sound.controls = false;
    moment.querySelector("[data-sound-box]").hidden = true;
    const drawn = moment.querySelector("[data-drawn]");
    const follow = () => {
      const at = Math.min(clip.currentTime, Number.isFinite(sound.duration) ? sound.duration : clip.currentTime);
      if (Math.abs(sound.currentTime - at) > DRIFT_S) sound.currentTime = at;
    };
    clip.addEventListener("play", () => {
      if (drawn) drawn.classList.add("aside");
      follow();
      sound.play().catch(() => {});
    });
    clip.addEventListener("pause", () => {
      if (!clip.ended) sound.pause(); // a sound that is longer is heard to its end
    });
    clip.addEventListener("seeking", () => clip.ended || follow());
    // Not while it stands: loaded again at its end, it is at 0, and the sound would be heard from its beginning once more.
    clip.addEventListener("timeupdate", () => clip.paused || follow());
    clip.addEventListener("ratechange", () => {
      sound.playbackRate = clip.playbackRate;
    });
    clip.addEventListener("waiting", () => sound.pause());
    clip.addEventListener("playing", () => sound.play().catch(() => {}));
    clip.addEventListener("ended", () => {
      if (drawn) drawn.classList.remove("aside");
      clip.load(); // the picture again, with what is drawn on it
    });
  }

  let running = [];
  let cancel = null; // ends the wait for what is being played
  function silence() {
    if (cancel) cancel();
    cancel = null;
    for (const player of running) {
      player.onended = null;
      player.pause();
    }
    running = [];
  }
  // Clip and sound together, then what the wearer said. Resolves to whether all of it was heard; false, too,
  // where something else is played instead.
  function replay(moment, { voiceOnly = false } = {}) {
    silence();
    const [clip, sound, voice] = ["[data-clip]", "[data-sound]", "[data-voice]"].map((what) => moment.querySelector(what));
    const parts = (voiceOnly ? [voice] : [sound, voice]).filter(Boolean);
    running = [clip, sound, voice].filter(Boolean);
    return parts.reduce((before, part) => before.then((heard) => heard && one(part, !voiceOnly && part === sound ? clip : null)), Promise.resolve(true));
  }
  function one(part, clip) {
    return new Promise((resolve) => {
      const lead = clip || part;
      cancel = () => resolve(false);
      part.onended = () => resolve(true);
      part.addEventListener("error", () => resolve(false), { once: true });
      part.currentTime = 0;
      lead.currentTime = 0;
      if (clip) clip.play().catch(() => part.play().catch(() => resolve(false)));
      else part.play().catch(() => resolve(false));
    });
  }
  window.waycue.player = { join, replay, silence };
})();
