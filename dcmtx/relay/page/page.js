// The status page: asks the relay for its state every two seconds while it is seen, and shows it.
// What is shown is text, never markup; nothing is kept in the browser.
"use strict";

const EVERY = 2000;
const PATIENCE = 8000;
const $ = (id) => document.getElementById(id);
const cards = new Map();
let last = 0;
let readOnly = true;
let asked = null;
let timer = 0;

// --- small things

function make(tag, kind, ...inside) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  node.append(...inside);
  return node;
}

function put(node, text, kind) {
  // Only what changed is touched, so that a selection or the focus stays.
  if (node.textContent !== text) node.textContent = text;
  if (kind !== undefined && node.className !== kind) node.className = kind;
}

function plural(count, one, many) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

function number(value) {
  return Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
}

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) { value /= 1000; at += 1; }
  return `${at && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

function age(seconds) {
  const steps = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  for (const [size, name, rest, small] of steps) {
    if (seconds >= size) {
      const whole = Math.floor(seconds / size);
      const over = Math.floor((seconds % size) / rest);
      return over && whole < 10 ? `${whole} ${name} ${over} ${small}` : `${whole} ${name}`;
    }
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

function rate(perSecond) {
  if (!perSecond) return "0 / min";
  return perSecond >= 1 ? `${perSecond.toFixed(perSecond < 10 ? 1 : 0)} / s` : `${Math.max(1, Math.round(perSecond * 60))} / min`;
}

function figures(list, rows) {
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach(([name, value, kind], index) => {
    if (!list.children[index]) list.append(make("div", "", make("dt"), make("dd")));
    const [dt, dd] = list.children[index].children;
    put(dt, name);
    put(dd, value, kind || "");
  });
}

// How many of what, the most first.
function counted(table, names) {
  return Object.entries(table).sort((a, b) => b[1] - a[1]).map(([key, count]) => `${(names && names[key]) || key}: ${number(count)}`).join(" · ");
}

// --- the state

const WORDS = { up: ["● up", "good"], idle: ["● not called yet", ""], down: ["▲ down", "bad"], held: ["■ paused", "warn"] };

function show(state) {
  readOnly = state.read_only;
  const all = Object.entries(state.destinations);
  const held = all.reduce((sum, [, each]) => sum + each.held_count, 0);
  const waiting = all.reduce((sum, [, each]) => sum + each.queue, 0);
  const oldest = Math.max(0, ...all.map(([, each]) => each.oldest_seconds));
  const down = all.filter(([, each]) => each.state === "down").length;
  const paused = all.filter(([, each]) => each.state === "held").length;
  const troubles = [];
  if (!state.receiving) troubles.push("disk full");
  if (down) troubles.push(`${down} down`);
  if (paused) troubles.push(`${paused} paused`);
  if (held) troubles.push(`${number(held)} held`);
  if (state.strangers.length) troubles.push("unclaimed instances");
  put($("strangers"), `Instances wait for ${state.strangers.join(", ")}, which is no destination of this relay. They stay until it is one.`);
  $("strangers").hidden = !state.strangers.length;
  const grave = down || !state.receiving;
  put($("overall"), troubles.length ? `${grave ? "▲" : "■"} ${troubles.join(", ")}` : "● all is well", `chip ${grave ? "bad" : troubles.length ? "warn" : "good"}`);
  document.title = troubles.length ? `${troubles.join(", ")} – dcmtx relay` : "dcmtx relay";
  put($("about"), `Listens at ${state.listens} · up for ${age(state.uptime_seconds)} · version ${state.version}`);
  figures($("figures"), [
    ["Receiving", rate(state.receive_rate)],
    ["Senders", number(state.associations)],
    ["Waiting", number(waiting), down && waiting ? "warn" : ""],
    ["Oldest", waiting ? age(oldest) : "–"],
    ["Held", number(held), held ? "warn" : ""],
    ["In the spool", bytes(state.spool_bytes)],
    ["Free on its disk", bytes(state.spool_free), state.receiving ? "" : "bad"],
  ]);
  for (const [name, each] of all) showDestination(name, each, state);
  for (const [name, card] of cards) {
    if (!(name in state.destinations)) { card.root.remove(); cards.delete(name); }
  }
  showReceived(state);
}

function card(name) {
  if (cards.has(name)) return cards.get(name);
  const parts = {
    chip: make("p", "chip"), address: make("p", "quiet"), trouble: make("p", "trouble"), list: make("dl", "figures"),
    delivered: make("p", "quiet counts"), refused: make("p", "quiet"), held: make("div", "held"), title: make("h4"),
    again: make("button", "", "Retry now"), every: make("button", "", "Retry all"), items: make("ul"), reasons: make("p", "quiet why"), more: make("p", "quiet"), shown: "",
  };
  parts.held.append(make("div", "bar", parts.title, parts.every), parts.reasons, parts.items, parts.more);
  parts.root = make("article", "card", make("div", "bar", make("h3", "", name), make("div", "bar", parts.chip, parts.again)), parts.address, parts.trouble, parts.list,
    parts.delivered, parts.refused, parts.held);
  parts.again.addEventListener("click", () => ask("retry", name, null));
  parts.every.addEventListener("click", () => ask("retry", name, null));
  $("destinations").append(parts.root);
  cards.set(name, parts);
  return parts;
}

function showDestination(name, each, state) {
  const parts = card(name);
  const [word, kind] = WORDS[each.state] || [each.state, ""];
  parts.state = each.state;
  put(parts.chip, word, `chip ${kind}`);
  parts.root.className = `card ${each.state === "down" ? "bad" : each.state === "held" || each.held_count ? "warn" : ""}`;
  put(parts.address, `${each.kind} · ${each.address}`);
  let trouble = "";
  if (each.state === "held") trouble = "Paused: nothing is sent to it until somebody lets it go on.";
  else if (each.error) trouble = each.error + (each.retry_seconds > 0 ? ` · next try in ${age(each.retry_seconds + 1)}` : "");
  put(parts.trouble, trouble, each.state === "down" ? "trouble" : "trouble warn");
  parts.trouble.hidden = !trouble;
  parts.again.hidden = readOnly || !(each.state === "down" || each.state === "held");
  put(parts.again, each.state === "held" ? "Go on" : "Retry now");
  figures(parts.list, [
    ["Waiting", number(each.queue)],
    ["Oldest", each.queue ? age(each.oldest_seconds) : "–"],
    ["Bytes", bytes(each.bytes)],
    ["Sending", rate(each.rate)],
    ["Held", number(each.held_count), each.held_count ? "warn" : ""],
  ]);
  const delivered = counted(each.delivered, state.syntaxes);
  put(parts.delivered, delivered ? `Delivered, by transfer syntax: ${delivered}` : "Nothing delivered yet");
  const refused = counted(each.refused);
  put(parts.refused, `Not taken, by status: ${refused}`);
  parts.refused.hidden = !refused;
  showHeld(name, each, parts);
}

function showHeld(name, each, parts) {
  parts.held.hidden = !each.held_count;
  put(parts.title, `${plural(each.held_count, "instance", "instances")} held`);
  parts.every.hidden = readOnly || each.held_count < 2;
  // Of many, why most of them are: one fault of a destination, or many of instances.
  put(parts.reasons, each.reasons.map(([reason, count]) => `${number(count)} × ${reason}`).join(" · "));
  parts.reasons.hidden = each.held_count < 6;
  const key = JSON.stringify([readOnly, each.held]);
  if (key !== parts.shown) {
    parts.shown = key;
    parts.items.replaceChildren(...each.held.map((item) => heldItem(name, item)));
  }
  const now = Date.now() / 1000;
  for (const since of parts.items.querySelectorAll("[data-since]")) put(since, `${since.dataset.size} · held for ${age(now - Number(since.dataset.since))}`);
  const unshown = each.held_count - each.held.length;
  parts.more.hidden = unshown <= 0;
  put(parts.more, `${number(unshown)} more; dcmtx relay status lists all of them.`);
}

function heldItem(name, item) {
  const since = make("div", "quiet");
  since.dataset.since = item.since;
  since.dataset.size = bytes(item.bytes);
  const text = make("div", "", make("div", "why", item.reason), make("div", "uid", item.instance || `file ${item.id}`), since);
  if (item.names) text.prepend(make("div", "", make("strong", "", item.names)));
  const row = make("li", "", text);
  if (!readOnly) {
    const retry = make("button", "retry", "Retry");
    const drop = make("button", "drop", "Drop");
    retry.addEventListener("click", () => ask("retry", name, item));
    drop.addEventListener("click", () => ask("drop", name, item));
    row.append(make("p", "buttons", retry, drop));
  }
  return row;
}

function showReceived(state) {
  const from = counted(state.received);
  const not = counted(state.declined);
  const box = $("received");
  while (box.children.length < 2) box.append(make("p"));
  put(box.children[0], from ? `By calling AE title: ${from}` : "Nothing received yet");
  put(box.children[1], `Not accepted, by status: ${not}`);
  box.children[1].hidden = !not;
}

// --- what changes something, and asks before it does

function ask(verb, name, item) {
  const paused = cards.get(name).state === "held";
  put($("question"), verb === "drop" ? `Drop this instance for ${name}?` : item ? `Send this instance to ${name} again?` : paused ? `Go on sending to ${name}?` : `Try ${name} again now?`);
  put($("explained"), verb === "drop"
    ? `It is removed from the spool, and ${name} will never get it. This cannot be undone.`
    : item ? "It goes back into its queue." : "The destination is tried now, and everything that is held goes back into its queue.");
  put($("which"), item ? item.instance || `file ${item.id}` : "");
  put($("yes"), verb === "drop" ? "Drop" : paused && !item ? "Go on" : "Retry", verb);
  asked = [verb, name, item];
  $("ask").showModal();
}

$("yes").addEventListener("click", () => {
  // Once, however often it is clicked before the question has gone.
  const what = asked;
  asked = null;
  if (what) act(...what);
});

async function act(verb, name, item) {
  try {
    const answer = await fetch(verb, {
      method: "POST", headers: { "Content-Type": "application/json" }, credentials: "omit",
      body: JSON.stringify({ destination: name, id: item ? item.id : null }), signal: AbortSignal.timeout(PATIENCE),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error([said.error, said.advice].filter(Boolean).join("; "));
    tell(verb === "drop" ? "Dropped." : `${plural(said.count, "instance is", "instances are")} back in the queue of ${name}.`, "");
  } catch (error) {
    tell(`That failed: ${error.message}`, "bad");
  }
  refresh();
}

function tell(text, kind) {
  put($("done"), text, `toast ${kind}`);
  $("done").hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { $("done").hidden = true; }, 6000);
}

// --- asking the relay

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch("state", { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    last = Date.now();
    silent("");
  } catch (error) {
    silent(last ? `The relay has not answered since ${new Date(last).toLocaleTimeString("en-GB")}. What stands below is as it was then.` : `The relay does not answer (${error.message}).`);
  }
  put($("updated"), last ? `Updated at ${new Date(last).toLocaleTimeString("en-GB")}.` : "");
  timer = setTimeout(refresh, document.hidden ? EVERY * 15 : EVERY);
}

function silent(text) {
  put($("silent"), text);
  $("silent").hidden = !text;
  document.body.classList.toggle("silent", Boolean(text));
  if (text) { put($("overall"), "▲ no answer", "chip bad"); document.title = "no answer – dcmtx relay"; }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();
