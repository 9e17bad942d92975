// The tables and figures. Everything that came from elsewhere goes in as text, never as HTML.
import { figure } from "./charts.js";

const clock = (millis) => new Date(millis).toISOString().slice(5, 19).replace("T", " ");
const money = (value) => value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const signed = (value) => (value > 0 ? "+" : "") + money(value);
const tone = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");

function cell(name, content, kind = "") {
  const element = document.createElement(name);
  element.textContent = content;
  if (kind) element.className = kind;
  return element;
}

const shown = new Map();

// columns: [title, row => text, row => class]
function table(id, rows, columns, nothing) {
  const place = document.getElementById(id);
  // What has not changed is left alone: somebody may be marking a line of it.
  const told = JSON.stringify(rows.map((row) => columns.map(([, text]) => text(row))));
  if (shown.get(id) === told) return;
  shown.set(id, told);
  if (!rows.length) return place.replaceChildren(cell("p", nothing, "nothing"));
  const head = document.createElement("tr");
  head.append(...columns.map(([title, , kind]) => cell("th", title, typeof kind === "string" ? kind : "")));
  const lines = rows.map((row) => {
    const line = document.createElement("tr");
    line.append(...columns.map(([, text, kind]) => cell("td", text(row), typeof kind === "function" ? kind(row) : kind || "")));
    return line;
  });
  const made = document.createElement("table"), top = document.createElement("thead"), body = document.createElement("tbody");
  top.append(head);
  body.append(...lines);
  made.append(top, body);
  const scrolled = place.scrollTop;
  place.replaceChildren(made);
  place.scrollTop = scrolled;
}

export function showFigures(status) {
  const balance = status.balance, held = status.positions, counts = status.orders;
  const unrealized = held.reduce((sum, each) => sum + (each.unrealized_pnl || 0), 0);
  const { equity, initial_capital: initial } = status;
  // Money that came or left is no gain and no loss.
  const putIn = (initial || 0) + (status.transferred || 0);
  const gain = equity !== null && initial ? equity - putIn : null;
  const live = (counts.ACCEPTED || 0) + (counts.PARTIALLY_FILLED || 0);
  const down = Object.values(status.updaters).filter((each) => !each.ok).length;
  const figures = [
    ["equity", equity === null ? "-" : money(equity), "", balance ? balance.currency : ""],
    ["since the start", gain === null ? "-" : signed(gain), tone(gain), gain === null || putIn <= 0 ? "" : `${signed((gain / putIn) * 100)} %`],
    ["free", balance ? money(balance.free) : "-", "", balance ? `${money(balance.used)} used` : ""],
    ["unrealized", signed(unrealized), tone(unrealized), `${held.length} positions`],
    ["queue", String(counts.INITIALIZED || 0), counts.INITIALIZED ? "warn" : "", `${counts.SUBMITTED || 0} sent, ${live} live`],
    ["oldest unknown", status.oldest_unknown_seconds === null ? "none" : `${Math.round(status.oldest_unknown_seconds)} s`, status.oldest_unknown_seconds === null ? "" : "bad", "outcome"],
    ["updaters", down ? `${down} down` : "all ok", down ? "bad" : "ok", `${Object.keys(status.updaters).length} in all`],
  ];
  document.getElementById("figures").replaceChildren(...figures.map(([name, value, kind, note]) => {
    const box = document.createElement("div");
    box.className = "figure";
    box.append(cell("span", name), cell("b", value, kind), cell("span", note));
    return box;
  }));
}

export function showStatus(status) {
  table("positions", status.positions, [
    ["market", (each) => each.symbol],
    ["side", (each) => each.side, (each) => `${each.side}-side`],
    ["quantity", (each) => figure(each.quantity), "right"],
    ["entry", (each) => figure(each.entry_price), "right"],
    ["mark", (each) => figure(each.mark_price), "right"],
    ["unrealized", (each) => (each.unrealized_pnl === null ? "-" : signed(each.unrealized_pnl)), (each) => `right ${tone(each.unrealized_pnl)}`],
  ], "none");
  const updaters = Object.entries(status.updaters).map(([name, each]) => ({ name, ...each }));
  table("updaters", updaters, [
    ["updater", (each) => each.name],
    ["", (each) => (each.ok ? "ok" : "DOWN"), (each) => (each.ok ? "ok" : "bad")],
    ["last success", (each) => (each.age_seconds === null ? "never" : `${Math.round(each.age_seconds)} s ago`), "right"],
    ["every", (each) => `${each.interval_seconds} s`, "right"],
  ], "none has run yet");
  const streams = Object.entries(status.streams).map(([name, each]) => ({
    name: `stream ${name}`, state: each.fresh ? "fresh" : "stale", good: each.fresh, reason: each.reason, where: each.stream,
  }));
  const breakers = status.breakers.map((each) => ({ name: `breaker ${each.name}`, state: each.state, good: false, reason: each.reason, where: each.process }));
  table("connections", [...breakers, ...streams], [
    ["what", (each) => each.name],
    ["", (each) => each.state, (each) => (each.good ? "ok" : "bad")],
    ["where", (each) => each.where],
    ["why", (each) => each.reason, "long"],
  ], "no stream has reported yet, and every breaker is closed");
}

const ORDER = [
  ["time (UTC)", (each) => clock(each.created)],
  ["market", (each) => each.symbol],
  ["side", (each) => each.side, (each) => each.side],
  ["quantity", (each) => figure(each.quantity), "right"],
  ["filled", (each) => figure(each.filled), "right"],
  ["price", (each) => figure(each.price ?? each.average), "right"],
  ["state", (each) => (each.unknown ? "UNKNOWN" : each.canceling ? `${each.state}, canceling` : each.state), (each) => (each.unknown ? "bad" : "")],
  ["by", (each) => each.strategy || each.actor],
];

export function showTrades(trades) {
  table("open", trades.open, ORDER, "no order waits, and none is open");
  table("orders", trades.orders, [...ORDER, ["reason", (each) => each.reason, "long"]], "none yet");
  table("fills", [...trades.fills].reverse(), [
    ["time (UTC)", (each) => clock(each.at)],
    ["market", (each) => each.symbol],
    ["side", (each) => each.side, (each) => each.side],
    ["quantity", (each) => figure(each.quantity), "right"],
    ["price", (each) => figure(each.price), "right"],
    ["fee", (each) => (each.fee === null ? "-" : `${figure(each.fee, 4)} ${each.fee_currency}`), "right"],
  ], "none yet");
}
