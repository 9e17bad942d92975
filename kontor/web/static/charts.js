// The two charts. Plotly is there as a global: its package ships a script, not a module.

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };
const FILL_SYMBOLS = { buy: "triangle-up", sell: "triangle-down" };
const RESTING = new Set(["INITIALIZED", "SUBMITTED", "ACCEPTED", "PARTIALLY_FILLED"]);

function colors() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { panel: of("panel"), line: of("line"), text: of("text"), muted: of("muted"), up: of("up"), down: of("down"), accent: of("accent") };
}

function layout(look, more) {
  const axis = { gridcolor: look.line, linecolor: look.line, zeroline: false, tickfont: { color: look.muted } };
  return {
    paper_bgcolor: look.panel, plot_bgcolor: look.panel,
    font: { color: look.text, family: "system-ui, sans-serif", size: 12 },
    margin: { l: 10, r: 68, t: 6, b: 42 },
    hoverlabel: { bgcolor: look.panel, bordercolor: look.line, font: { color: look.text } },
    dragmode: "pan",
    ...more,
    xaxis: { ...axis, type: "date", ...(more.xaxis || {}) },
    yaxis: { ...axis, side: "right", fixedrange: false, ...(more.yaxis || {}) },
  };
}

export function drawPrice(element, state) {
  const look = colors();
  const rows = state.candles;
  const column = (index) => rows.map((row) => row[index]);
  const times = rows.map((row) => utc(row[0]));
  const traces = [{
    type: "candlestick", name: state.symbol, x: times, open: column(1), high: column(2), low: column(3), close: column(4),
    increasing: { line: { color: look.up, width: 1 }, fillcolor: look.up }, decreasing: { line: { color: look.down, width: 1 }, fillcolor: look.down },
    showlegend: false,
  }];
  traces.push(placed(state.orders, look));
  for (const side of ["buy", "sell"]) traces.push(fills(state.fills.filter((each) => each.side === side), side, look));
  const shapes = state.orders.filter((each) => RESTING.has(each.state) && each.price).map((each) => restingLine(each, look));
  const annotations = [];
  if (state.last) {
    shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: state.last, y1: state.last, line: { color: look.accent, width: 1, dash: "dot" } });
    annotations.push({ xref: "paper", x: 1, xanchor: "left", y: state.last, text: figure(state.last), showarrow: false, bgcolor: look.accent, font: { color: look.panel, size: 11 } });
  }
  const more = {
    shapes, annotations, showlegend: true, legend: { orientation: "h", y: 1.08, x: 0, font: { color: look.muted } },
    xaxis: { rangeslider: { visible: false } }, uirevision: state.symbol,
  };
  return Plotly.react(element, traces, layout(look, more), CONFIG);
}

export function drawEquity(element, state) {
  const look = colors();
  const trace = {
    type: "scatter", mode: state.points.length > 1 ? "lines" : "markers", name: "equity",
    x: state.points.map((each) => utc(each[0])), y: state.points.map((each) => each[1]),
    line: { color: look.accent, width: 1.5 }, hovertemplate: "%{x}<br>%{y:,.2f}<extra></extra>", showlegend: false,
  };
  const shapes = state.initial && near(state.initial, state.points)
    ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: state.initial, y1: state.initial, line: { color: look.muted, width: 1, dash: "dash" } }]
    : [];
  return Plotly.react(element, [trace], layout(look, { shapes, uirevision: state.key, yaxis: { tickformat: ",.2~f" } }), CONFIG);
}

// The line of the initial capital is drawn where it does not flatten the curve.
function near(value, points) {
  const values = points.map((each) => each[1]);
  const low = Math.min(...values), high = Math.max(...values), span = Math.max(high - low, high * 0.001);
  return points.length > 0 && value > low - 2 * span && value < high + 2 * span;
}

function placed(orders, look) {
  const shown = orders.filter((each) => each.price);
  return {
    type: "scatter", mode: "markers", name: "orders", x: shown.map((each) => utc(each.created)), y: shown.map((each) => each.price),
    marker: { symbol: "circle-open", size: 8, color: shown.map((each) => look[each.side === "buy" ? "up" : "down"]), line: { width: 1.5 } },
    text: shown.map((each) => `${each.state} ${each.side} ${figure(each.quantity)} at ${figure(each.price)}<br>${escaped(each.strategy || each.actor)}<br>${escaped(each.id)}`),
    hovertemplate: "%{text}<extra></extra>",
  };
}

function fills(rows, side, look) {
  return {
    type: "scatter", mode: "markers", name: side === "buy" ? "bought" : "sold", x: rows.map((each) => utc(each.at)), y: rows.map((each) => each.price),
    marker: { symbol: FILL_SYMBOLS[side], size: 11, color: look[side === "buy" ? "up" : "down"], line: { color: look.text, width: 1 } },
    text: rows.map((each) => `${side} ${figure(each.quantity)} at ${figure(each.price)}<br>${escaped(each.order)}`),
    hovertemplate: "%{text}<extra></extra>",
  };
}

function restingLine(order, look) {
  const color = look[order.side === "buy" ? "up" : "down"];
  return { type: "line", x0: utc(order.created), xref: "x", x1: utc(Date.now()), y0: order.price, y1: order.price, line: { color, width: 1, dash: "dash" } };
}

// Plotly shows a text as it stands, and a Date in the browser's own time: everything here is UTC, as in the tables.
function utc(millis) {
  return new Date(millis).toISOString().slice(0, -1);
}

// Plotly reads a little HTML in its labels: names that people chose are not to become any.
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

export function figure(value, digits = 8) {
  if (value === null || value === undefined) return "-";
  return value.toLocaleString("en-US", { maximumSignificantDigits: digits });
}
