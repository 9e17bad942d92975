// The page: one live connection for what is selected, made anew when it breaks, and everything it says put in its place.
import { drawEquity, drawPrice, figure } from "./charts.js";
import { showFigures, showStatus, showTrades } from "./tables.js";

const SIGNED_OUT = 4401;
const PATIENCE = { first: 500, longest: 15000 };
// Older candles than the server sends at once are let go.
const MOST_CANDLES = 1000;

const at = (id) => document.getElementById(id);
const chosen = new URLSearchParams(location.search);
const price = { symbol: "", candles: [], orders: [], fills: [], last: null };
const equity = { points: [], initial: null, key: "" };
let status = null, socket = null, pause = PATIENCE.first, trouble = "", lost = "", dirty = new Set();
let account = "", title = document.title;

function connect() {
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live?${chosen}`;
  const mine = new WebSocket(address);
  socket = mine;
  mine.onmessage = (event) => { if (mine === socket) take(JSON.parse(event.data)); };
  mine.onclose = (event) => { if (mine === socket) closed(event); };
}

async function closed(event) {
  lost = "no connection to the desk; what is shown is not up to date";
  show("lost", "lost");
  // A refusal tells a browser's script nothing: whether we are still signed in is asked for.
  const answer = event.code === SIGNED_OUT ? { redirected: true } : await fetch("/", { method: "HEAD" }).catch(() => null);
  if (answer && answer.redirected) return location.assign("/login");
  setTimeout(connect, pause);
  pause = Math.min(pause * 2, PATIENCE.longest);
}

function select(changes) {
  for (const [name, value] of Object.entries(changes)) value === null ? chosen.delete(name) : chosen.set(name, value);
  history.replaceState(null, "", `?${chosen}`);
  const old = socket;
  connect();
  old.close();
}

const HANDLERS = {
  hello(message) {
    options(at("account"), message.accounts, message.account);
    options(at("symbol"), message.symbols, message.symbol);
    equity.key = `${message.account} ${days()}`;
    title = `${message.symbol || message.account} - Kontor`;
    if (account !== message.account) stakes("");
    account = message.account;
    stakes(at("mode").dataset.mode || "");
    Object.assign(price, { symbol: message.symbol, candles: [], orders: [], fills: [], last: null });
    at("price-note").textContent = message.symbol ? `${message.symbol}, ${message.timeframe}, UTC` : "nothing is watched yet";
    for (const button of document.querySelectorAll("[data-days]")) button.setAttribute("aria-pressed", String(button.dataset.days === days()));
    dirty.add("price");
  },
  status(message) { status = message; trouble = ""; dirty.add("status"); },
  trades(message) { showTrades(message); },
  chart(message) { Object.assign(price, { candles: message.candles, last: message.last }); dirty.add("price"); },
  prices(message) { if (merge(message)) dirty.add("price"); },
  markers(message) { Object.assign(price, { orders: message.orders, fills: message.fills }); dirty.add("price"); },
  equity(message) { Object.assign(equity, { points: message.points, initial: message.initial }); dirty.add("equity"); },
  "equity-points"(message) { equity.points.push(...message.points); dirty.add("equity"); },
  trouble(message) { trouble = message.text; dirty.add("banner"); },
};

function take(message) {
  lost = "";
  pause = PATIENCE.first;
  show("live", "live");
  HANDLERS[message.kind]?.(message);
  requestAnimationFrame(draw);
}

function draw() {
  const due = dirty;
  dirty = new Set();
  if (due.has("price")) drawPrice(at("price"), price);
  if (due.has("equity")) drawEquity(at("equity"), equity);
  if (due.has("status") && status) {
    showFigures(status);
    showStatus(status);
    stakes(status.mode || "");
    if (status.prefect_url) at("prefect").href = status.prefect_url;
  }
  banner();
}

// With what the account trades: real money must be seen before anything is pressed, also in the tab's name.
function stakes(mode) {
  at("mode").dataset.mode = mode;
  at("mode").hidden = !mode;
  at("mode").className = mode;
  at("mode").textContent = mode === "live" ? "LIVE: real money" : mode;
  document.title = mode === "live" ? `LIVE ${title}` : title;
}

function merge(message) {
  const before = price.last;
  price.last = message.last;
  let changed = before !== message.last;
  for (const row of message.candles) {
    const place = price.candles.findIndex((each) => each[0] === row[0]);
    if (place < 0) price.candles.push(row);
    else if (price.candles[place].some((value, index) => value !== row[index])) price.candles[place] = row;
    else continue;
    changed = true;
  }
  price.candles.splice(0, Math.max(price.candles.length - MOST_CANDLES, 0));
  at("price-note").textContent = at("price-note").textContent.replace(/: .*$/, "") + (price.last ? `: ${figure(price.last)}` : "");
  return changed;
}

function banner() {
  const halted = status && status.halted ? `HALTED: ${status.halted.reason}` : "";
  const known = (status && status.initialization) || {};
  const closed = status && status.initialized === false ? `NOT INITIALIZED: ${known.problem || "it waits for the flow initialize"}` : "";
  const text = [lost, trouble, closed, halted, ...((status && status.remarks) || [])].filter(Boolean).join(" | ");
  at("banner").hidden = !text;
  at("banner").textContent = text;
  at("banner").className = lost || halted || closed ? "alarm" : "";
}

function show(kind, text) {
  at("connection").className = kind;
  at("connection").textContent = text;
  banner();
}

function options(list, names, selected) {
  list.replaceChildren(...names.map((name) => new Option(name, name, false, name === selected)));
}

function days() { return chosen.get("days") || "1"; }

at("account").addEventListener("change", (event) => select({ account: event.target.value, symbol: null }));
at("symbol").addEventListener("change", (event) => select({ symbol: event.target.value }));
for (const button of document.querySelectorAll("[data-days]")) button.addEventListener("click", () => select({ days: button.dataset.days }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawPrice(at("price"), price); drawEquity(at("equity"), equity); });
connect();
