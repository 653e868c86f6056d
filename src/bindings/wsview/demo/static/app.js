// The page's side of the demo: a link that reconnects, the chat, the echo lab.
// Whatever came from a server or a person is shown through textContent only, never as HTML.

const $ = (id) => document.getElementById(id);
const SOCKETS = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`;

// ------------------------------------------------------------------------------------- helpers

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

function timeOf(seconds) {
  const date = new Date(seconds * 1000);
  const element = make("time", "", CLOCK.format(date));
  element.dateTime = date.toISOString();
  return element;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const [amount, unit] = bytes < 1 << 20 ? [bytes / 1024, "KiB"] : [bytes / (1 << 20), "MiB"];
  return `${Number.isInteger(amount) ? amount : amount.toFixed(1)} ${unit}`;
}

function millis(value) {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

const CODES = {
  1000: "normal closure", 1001: "going away", 1002: "protocol error", 1003: "unsupported data",
  1005: "no code given", 1006: "connection lost", 1007: "invalid payload",
  1008: "policy violation", 1009: "message too big", 1010: "extension missing",
  1011: "internal error", 1012: "service restart", 1013: "try again later", 1014: "bad gateway",
  1015: "TLS failed",
};

function closing(event) {
  const meaning = CODES[event.code] ?? (event.code < 4000 ? "a library’s code" : "the server’s own code");
  return `${event.code} (${meaning})${event.reason ? ` “${event.reason}”` : ""}`;
}

// A scrolling list that stays bounded and shows its end, unless the reader has scrolled up.
class Stream {
  constructor(list, most) {
    this.list = list;
    this.most = most;
    this.following = true;
    list.addEventListener("scroll", () => {
      this.following = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    });
    new ResizeObserver(() => this.follow()).observe(list);
  }

  add(element) {
    this.list.querySelector(".empty")?.remove();
    this.list.append(element);
    while (this.list.childElementCount > this.most) this.list.firstElementChild.remove();
    this.follow();
  }

  clear(words) {
    this.following = true;
    this.list.replaceChildren(make("p", "empty", words));
  }

  follow() {
    if (this.following) this.list.scrollTop = this.list.scrollHeight;
  }
}

// ---------------------------------------------------------------------------------------- link

// One WebSocket after another to the same kind of address. After a loss it tries again by itself,
// each time after a longer wait; after a close that was meant, it waits to be asked.
class Link extends EventTarget {
  static LOSSES = [1001, 1006, 1011, 1012, 1013, 1014]; // codes after which a retry may help
  static STEADY = 5_000; // ms that a connection must have lasted for the waits to begin anew

  constructor(address, protocol) {
    super();
    this.address = address; // a function: the room may change from one connection to the next
    this.protocol = protocol;
    this.socket = null;
    this.state = "closed";
    this.failures = 0;
    this.closedOnPurpose = false;
    // A browser that is online again, or a tab that is looked at again, need not wait.
    addEventListener("online", () => this.state === "waiting" && this.open());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.state === "waiting") this.open();
    });
  }

  open() {
    clearInterval(this.countdown);
    if (this.socket) return;
    this.closedOnPurpose = false;
    const socket = new WebSocket(this.address(), this.protocol);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.become("connecting", this.failures ? `Connecting, try ${this.failures + 1}` : "Connecting");
    let opened = 0;
    socket.onopen = () => {
      opened = performance.now();
      this.become("open", "Open");
    };
    socket.onmessage = (event) =>
      this.dispatchEvent(new MessageEvent("message", { data: event.data }));
    socket.onclose = (event) => {
      this.socket = null;
      const { code, reason, wasClean } = event;
      if (opened) {
        if (performance.now() - opened > Link.STEADY) this.failures = 0;
        // A try that found no server is no close: there was no connection.
        this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
      }
      if (this.closedOnPurpose || (opened && !Link.LOSSES.includes(code))) {
        this.failures = 0;
        this.become("closed", "Closed");
      } else {
        this.retry();
      }
    };
  }

  retry() {
    // 0.5, 1, 2, ... 15 s, each shortened by up to a third so that a thousand pages that lost the
    // same server do not all come back in the same moment.
    const wait = Math.min(15, 0.5 * 2 ** this.failures) * (1 - Math.random() / 3);
    this.failures += 1;
    const due = performance.now() + wait * 1000;
    const tick = () => {
      const left = (due - performance.now()) / 1000;
      if (left <= 0) this.open();
      else this.become("waiting", "Retrying", wait < 1.5 ? "" : `in ${Math.ceil(left)} s`);
    };
    this.countdown = setInterval(tick, 200);
    tick();
  }

  send(data) {
    if (this.state !== "open") return false;
    this.socket.send(data);
    return true;
  }

  close(code, reason) {
    this.closedOnPurpose = true;
    clearInterval(this.countdown);
    if (!this.socket) return this.become("closed", "Closed");
    this.socket.close(code, reason);
    this.become("closing", "Closing");
  }

  become(state, words, detail = "") {
    if (this.words === words && this.detail === detail) return;
    this.state = state;
    this.words = words;
    this.detail = detail;
    this.dispatchEvent(new Event("state"));
  }
}

// Shows a link's state in a pill, and lets a button open or close it.
function control(link, pill, button) {
  const countdown = make("span", "countdown");
  countdown.ariaHidden = "true";
  pill.append(countdown);
  link.addEventListener("state", () => {
    pill.dataset.state = link.state;
    // A screen reader announces the words, but not each second of the countdown.
    if (pill.firstChild.textContent !== link.words) pill.firstChild.textContent = link.words;
    pill.lastChild.textContent = link.detail;
    const off = link.state === "closed";
    button.textContent = off ? "Connect" : link.state === "waiting" ? "Try now" : "Disconnect";
    button.disabled = link.state === "closing";
  });
  button.addEventListener("click", () => {
    if (link.state === "closed" || link.state === "waiting") link.open();
    else link.close(1000, "");
  });
}

// ------------------------------------------------------------------------------------ the panel

class Sparkline {
  static POINTS = 60;

  constructor(svg) {
    [this.area, this.line] = svg.querySelectorAll("path");
    this.values = [];
  }

  add(value) {
    this.values = [...this.values, value].slice(-Sparkline.POINTS);
    const top = Math.max(...this.values, 1) * 1.15;
    const step = 240 / (Sparkline.POINTS - 1);
    const start = 240 - (this.values.length - 1) * step;
    const points = this.values.map(
      (item, index) => `${(start + index * step).toFixed(1)} ${(46 - (item / top) * 44).toFixed(1)}`,
    );
    if (points.length < 2) return;
    this.line.setAttribute("d", `M${points.join("L")}`);
    this.area.setAttribute("d", `M${points.join("L")}L240 48L${start.toFixed(1)} 48Z`);
  }
}

class Panel {
  constructor(link) {
    this.link = link;
    this.spark = new Sparkline($("spark"));
    this.pings = new Map();
    this.number = 0;
    control(link, $("link-state"), $("link-toggle"));
    link.addEventListener("state", () => this.show());
    link.addEventListener("close", (event) => {
      $("link-close").textContent = closing(event);
      this.pings.clear();
    });
    setInterval(() => this.ping(), 1000);
  }

  show() {
    $("link-address").textContent = this.link.address();
    // The tab of this panel shows the state too: on a phone the panel may be out of sight.
    document.querySelector("[data-part=link]").dataset.state = this.link.state;
    if (this.link.state === "open") {
      $("link-subprotocol").textContent = this.link.socket.protocol || "none";
      $("link-extensions").textContent = this.link.socket.extensions || "none";
    } else {
      $("rtt").textContent = "–";
    }
  }

  ping() {
    if (this.link.state !== "open" || document.hidden) return;
    // An answer that is still missing after this many is not worth waiting for.
    if (this.pings.size > 30) this.pings.clear();
    this.number += 1;
    this.pings.set(this.number, performance.now());
    this.link.send(JSON.stringify({ type: "ping", id: this.number }));
  }

  pong({ id, latency }) {
    const sent = this.pings.get(id);
    this.pings.delete(id);
    if (sent === undefined) return;
    const trip = performance.now() - sent;
    this.spark.add(trip);
    $("rtt").textContent = millis(trip);
    const values = this.spark.values;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    $("rtt-range").textContent = `JSON ping every second, ${millis(low)} to ${millis(high)} ms`;
    $("server-latency").textContent = latency === null ? "soon" : `${millis(latency * 1000)} ms`;
  }
}

// ------------------------------------------------------------------------------------- the chat

class Chat {
  constructor() {
    this.room = roomInAddress();
    // Kept for this tab only: a reload is the same person, another tab is another one.
    this.name = sessionStorage.getItem("name") ?? "";
    this.key = sessionStorage.getItem("key") ?? newKey();
    sessionStorage.setItem("key", this.key);
    this.moving = false; // whether the connection is closed only to open another one
    this.present = false; // whether the server has let us in on the present connection
    this.messages = new Stream($("messages"), 300);
    this.last = null; // author and time of the last message, to group what one person says
    this.link = new Link(() => `${SOCKETS}/ws/chat/${encodeURIComponent(this.room)}`, "chat.v1");
    this.panel = new Panel(this.link);

    this.link.addEventListener("state", () => this.onState());
    this.link.addEventListener("message", (event) => this.onMessage(JSON.parse(event.data)));
    this.link.addEventListener("close", (event) => this.onClose(event));
    $("join").addEventListener("submit", (event) => this.onJoin(event));
    $("say").addEventListener("submit", (event) => this.onSay(event));
    $("leave").addEventListener("click", () => this.onLeave());
    $("say-text").addEventListener("input", () => this.count());
    $("say-text").addEventListener("keydown", (event) => {
      // Enter sends, Shift+Enter begins a line; an input method's Enter only picks a word.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        $("say").requestSubmit();
      }
    });
    addEventListener("hashchange", () => this.enter(roomInAddress()));

    $("join-name").value = this.name;
    $("join-room").value = this.room;
    this.link.open();
  }

  enter(room) {
    if (room === this.room) return;
    this.room = room;
    $("join-room").value = room;
    this.clear();
    this.moveTo("moving to another room");
  }

  // Another room, or nobody in this one, is another connection.
  moveTo(reason) {
    this.moving = this.link.socket !== null;
    if (this.moving) this.link.close(1000, reason);
    else this.link.open();
  }

  onState() {
    $("room-name").textContent = `#${this.room}`;
    if (this.link.state === "open") {
      // A name means that this tab had joined: after a loss or a reload it joins by itself.
      if (this.name) this.join();
    } else {
      this.present = false;
    }
    if (this.link.state === "closed" && this.moving) {
      this.moving = false;
      this.link.open();
    }
    this.showForms();
  }

  onClose(event) {
    this.showPeople([]);
    if (event.code === 1008 || event.code >= 4000) $("chat-error").textContent = event.reason;
  }

  join() {
    this.link.send(JSON.stringify({ type: "join", name: this.name, key: this.key }));
  }

  // Whoever has a name keeps the field they write in, also while the connection is away.
  showForms() {
    $("join").hidden = this.name !== "";
    $("say").hidden = $("leave").hidden = this.name === "";
    $("say").querySelector("button").disabled = !this.present;
    $("say-text").placeholder = this.present ? "Write a message" : `${this.link.words} …`;
  }

  onMessage(message) {
    switch (message.type) {
      case "pong":
        this.panel.pong(message);
        break;
      case "welcome":
        this.clear();
        this.name = message.name;
        sessionStorage.setItem("name", this.name);
        for (const said of message.history) this.show(said);
        this.notice(`You joined #${message.room} as ${message.name}`, Date.now() / 1000);
        this.showPeople(message.members);
        this.present = true;
        this.showForms();
        if (this.asked) $("say-text").focus();
        break;
      case "said":
        this.show(message);
        break;
      case "joined":
      case "left":
        this.notice(`${message.name} ${message.type}`, message.time);
        this.showPeople(message.members);
        break;
      case "error":
        $("chat-error").textContent = message.message;
        if (!this.present) this.name = ""; // the answer to a join: ask for another name
        this.showForms();
        break;
    }
  }

  onJoin(event) {
    event.preventDefault();
    this.name = $("join-name").value.trim();
    this.asked = true; // only then may the page move the focus
    $("chat-error").textContent = "";
    if ($("join-room").value !== this.room) location.hash = $("join-room").value;
    else if (this.link.state === "open") this.join();
    else this.link.open();
  }

  onSay(event) {
    event.preventDefault();
    const text = $("say-text").value;
    if (!text.trim() || !this.present) return;
    $("chat-error").textContent = "";
    if (this.link.send(JSON.stringify({ type: "say", text }))) {
      $("say-text").value = "";
      this.count();
    }
  }

  onLeave() {
    this.name = "";
    sessionStorage.removeItem("name");
    this.clear();
    this.moveTo("left the room");
  }

  count() {
    const left = 2000 - $("say-text").value.length;
    $("say-count").textContent = left < 200 ? left : "";
  }

  clear() {
    this.last = null;
    this.messages.clear("Join the room to read and to write.");
  }

  show({ name, text, time }) {
    const entry = make("div", "message");
    if (name === this.name) entry.classList.add("mine");
    // A minute: long enough to group a thought, short enough for the times to mean something.
    if (this.last?.name === name && time - this.last.time < 60) entry.classList.add("follows");
    this.last = { name, time };
    const head = make("div", "head");
    head.append(make("span", "name", name), timeOf(time));
    entry.append(avatar(name), head, make("p", "text", text));
    this.messages.add(entry);
  }

  notice(words, time) {
    this.last = null;
    const entry = make("p", "notice", `${words} · `);
    entry.append(timeOf(time));
    this.messages.add(entry);
  }

  showPeople(names) {
    $("people").replaceChildren(
      ...names.map((name) => {
        const item = make("li", "");
        item.append(avatar(name), make("span", "", name));
        if (name === this.name) item.append(make("span", "you", "(you)"));
        return item;
      }),
    );
  }
}

function roomInAddress() {
  const room = decodeURIComponent(location.hash.slice(1)).toLowerCase();
  return /^[a-z0-9-]{1,32}$/.test(room) ? room : "lobby";
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function avatar(name) {
  const element = make("span", "avatar", Array.from(name)[0].toUpperCase());
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 360;
  element.style.setProperty("--hue", hash);
  element.ariaHidden = "true";
  return element;
}

// ------------------------------------------------------------------------------------- the lab

class Lab {
  constructor() {
    this.large = null; // what a large message was, while its echo is awaited
    this.log = new Stream($("lab-log"), 200);
    this.link = new Link(() => `${SOCKETS}/ws/echo`, "echo.v1");
    control(this.link, $("lab-state"), $("lab-toggle"));
    this.link.addEventListener("state", () => this.onState());
    this.link.addEventListener("message", (event) => this.onMessage(event.data));
    this.link.addEventListener("close", (event) => this.onClose(event));
    $("echo").addEventListener("submit", (event) => this.onSubmit(event));
    $("echo").addEventListener("change", () => this.showKind());
    $("echo-hex").addEventListener("input", () => this.showHex());
    $("echo-text").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        $("echo").requestSubmit();
      }
    });
    $("close").addEventListener("submit", (event) => this.onCloseAsked(event));
    $("hint").textContent = `wsview connect ${SOCKETS}/ws/echo`;
    this.showKind();
    this.link.open();
  }

  onState() {
    const open = this.link.state === "open";
    for (const button of document.querySelectorAll("#echo button, #close button")) {
      button.disabled = !open;
    }
    if (!open) return;
    const { protocol, extensions } = this.link.socket;
    $("lab-negotiated").textContent =
      `Subprotocol ${protocol || "none"}, extensions: ${extensions || "none"}`;
    this.event("connected");
  }

  showKind() {
    const kind = $("echo").elements.kind.value;
    for (const part of document.querySelectorAll(".kind")) part.hidden = part.dataset.kind !== kind;
    $("echo-error").textContent = "";
    this.showHex();
  }

  showHex() {
    const bytes = bytesOf($("echo-hex").value);
    $("hex-note").textContent = bytes ? size(bytes.length) : "pairs of 0-9 and a-f, please";
  }

  onSubmit(event) {
    event.preventDefault();
    $("echo-error").textContent = "";
    const kind = $("echo").elements.kind.value;
    if (kind === "large") return this.sendLarge();
    const data = kind === "text" ? $("echo-text").value : bytesOf($("echo-hex").value);
    if (data === null) $("echo-error").textContent = "These are not pairs of hexadecimal digits.";
    else if (this.link.send(data)) this.entry("sent", data);
  }

  sendLarge() {
    const length = Number($("echo-size").value);
    const data = $("echo-content").value === "text" ? repeatedText(length) : randomBytes(length);
    $("throughput").textContent = `Sending ${size(length)} …`;
    this.large = { data, length, started: performance.now() };
    if (this.link.send(data)) this.entry("sent", data);
  }

  onMessage(data) {
    const large = this.large;
    if (large && sizeOf(data) === large.length) {
      const seconds = (performance.now() - large.started) / 1000;
      this.large = null;
      const same = equal(large.data, data) ? "unchanged" : "CHANGED";
      const rate = (2 * large.length) / (1 << 20) / seconds;
      $("throughput").textContent =
        `${size(large.length)} there and back, ${same}, in ${millis(seconds * 1000)} ms: ` +
        `${rate.toFixed(rate < 10 ? 1 : 0)} MiB/s`;
    }
    this.entry("received", data);
  }

  onClose(event) {
    if (this.large) {
      this.large = null;
      $("throughput").textContent = "The connection was closed before the echo came.";
    }
    const clean = event.wasClean ? "clean" : "not clean";
    $("lab-close").textContent = `Arrived: ${closing(event)}, ${clean}`;
    this.event(`closed: ${closing(event)}`);
  }

  onCloseAsked(event) {
    event.preventDefault();
    const code = Number($("close-code").value);
    const reason = $("close-reason").value;
    $("close-error").textContent = "";
    $("lab-close").textContent = "";
    if (new TextEncoder().encode(reason).length > 123) {
      $("close-error").textContent = "A reason has 123 bytes at most.";
    } else if (event.submitter?.value === "server") {
      this.link.send(`/close ${code} ${reason}`);
      this.event(`asked the server to close with ${code}`);
    } else if (code !== 1000 && !(code >= 3000 && code <= 4999)) {
      $("close-error").textContent = "A page may close with 1000 or 3000 to 4999 only.";
    } else {
      this.event(`closing with ${code}`);
      this.link.close(code, reason);
    }
  }

  entry(direction, data) {
    const entry = make("p", `entry ${direction}`);
    const arrow = make("span", "arrow", direction === "sent" ? "↑" : "↓");
    arrow.role = "img";
    arrow.ariaLabel = direction;
    entry.append(
      arrow,
      make("span", "type", typeof data === "string" ? "text" : "binary"),
      make("span", "size", size(sizeOf(data))),
      make("span", "preview", preview(data)),
      clock(),
    );
    this.log.add(entry);
  }

  event(words) {
    const entry = make("p", "entry event");
    entry.append(make("span", "arrow", "·"), make("span", "preview", words), clock());
    this.log.add(entry);
  }
}

function clock() {
  return make("time", "", new Date().toLocaleTimeString([], { hourCycle: "h23" }));
}

function bytesOf(hex) {
  const digits = hex.replace(/\s+/g, "");
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function sizeOf(data) {
  return typeof data === "string" ? new TextEncoder().encode(data).length : data.byteLength;
}

function preview(data) {
  if (typeof data === "string") return data.slice(0, 200);
  const bytes = new Uint8Array(data.buffer ?? data, 0, Math.min(32, data.byteLength));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function repeatedText(length) {
  const words = "All work and no play makes for a message that compresses well. ";
  return words.repeat(Math.ceil(length / words.length)).slice(0, length);
}

function randomBytes(length) {
  const bytes = new Uint8Array(length);
  // The browser gives 64 KiB of randomness at a time.
  for (let start = 0; start < length; start += 65536) {
    crypto.getRandomValues(bytes.subarray(start, Math.min(length, start + 65536)));
  }
  return bytes;
}

function equal(sent, received) {
  if (typeof sent === "string" || typeof received === "string") return sent === received;
  const bytes = new Uint8Array(received);
  return sent.every((byte, index) => byte === bytes[index]);
}

// ------------------------------------------------------------------------------- the whole page

for (const tab of document.querySelectorAll(".tabs button")) {
  tab.addEventListener("click", () => {
    document.querySelector("main").dataset.shown = tab.dataset.part;
    for (const other of document.querySelectorAll(".tabs button")) {
      other.ariaPressed = String(other === tab);
    }
  });
}

new Chat();
new Lab();
