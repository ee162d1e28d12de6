// The one stream of the page: counts and alerts for everybody, points for the view that follows series.

import { path } from "/web/api.js";

const RETRY_MS = 1_000, SILENCE_MS = 4_000;
const UNSEEN_MS = 30_000; // a page that nobody sees lets its stream go: a browser has six connections to a server, for all of its tabs

export class Live {
  constructor() {
    this.stream = null;
    this.vector = null; // how far was heard; a stream that is opened anew goes on there
    this.series = [];
    this.heard = null; // the view's function
    this.listeners = new Set(); // (frame, first of a connection) → nothing
    this.watchers = new Set(); // (state, words, why) → nothing
    this.last = 0;
    this.soon = null;
    this.unseen = null;
    document.addEventListener("visibilitychange", () => this.seen(!document.hidden));
    setInterval(() => { if (this.last && Date.now() - this.last > SILENCE_MS) this.tell("lost", "no data"); }, 1_000);
  }

  /** Follow series (an array) from a vector on: `heard` gets a frame of one series at a time. Whoever followed before is let go. */
  follow(series, since, heard) {
    this.series = series;
    this.heard = heard;
    this.reopen(since ?? this.vector);
    return () => {
      if (this.heard !== heard) return;
      this.heard = null;
      this.series = [];
      this.reopen(this.vector);
    };
  }

  /** One view goes and the next comes in the same turn: the stream is opened once, for what is wanted in the end. */
  reopen(since) {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.open(since));
  }

  /** Hear every frame: counts, alerts, notes. Returns the function that ends it. */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Seen again, it goes on from where it was. */
  seen(is) {
    clearTimeout(this.unseen);
    if (!is) this.unseen = setTimeout(() => this.close(), UNSEEN_MS);
    else if (!this.stream) this.reopen(this.vector);
  }

  close() {
    clearTimeout(this.soon);
    this.stream?.close();
    this.stream = null;
    this.last = 0;
  }

  open(since) {
    this.stream?.close();
    const stream = new EventSource(path("/stream", { series: this.series, since }));
    this.stream = stream;
    let first = true;
    stream.addEventListener("update", (event) => {
      if (this.stream !== stream) return;
      this.take(JSON.parse(event.data), first);
      first = false;
    });
    stream.addEventListener("unavailable", (event) => {
      if (this.stream !== stream) return;
      this.last = Date.now();
      this.tell("lost", "view unavailable", JSON.parse(event.data).detail);
    });
    stream.addEventListener("error", () => {
      if (this.stream !== stream) return;
      this.tell("lost", "reconnecting");
      if (stream.readyState === EventSource.CLOSED) setTimeout(() => { if (this.stream === stream) this.open(this.vector); }, RETRY_MS);
    });
  }

  take(frame, first) {
    this.last = Date.now();
    this.vector = frame.vector;
    this.tell("live", "live");
    for (const listener of this.listeners) listener(frame, first);
    if (!this.heard) return;
    if (frame.reset) this.heard({ reset: true });
    else for (const one of frame.charts ?? [frame]) if (one.series !== null && (one.points || one.detectors.length || one.reset)) this.heard(one);
  }

  tell(state, words, why = "") {
    for (const watcher of this.watchers) watcher(state, words, why);
  }
}

export const live = new Live();
