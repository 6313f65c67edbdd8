// The page of `--report`: self-contained, drawn in the browser from the report's own JSON, so that the two can't differ.
#include "base/markup.h"
#include "cli/report.h"

namespace pith::cli {
namespace {

constexpr const char* kStyle = R"css(
body{font:14px/1.5 system-ui,sans-serif;color:#1c2430;background:#fff;margin:28px auto;max-width:1180px;padding:0 20px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:30px 0 8px}p{margin:4px 0 10px;color:#4a5568}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:#4a5568}
table{border-collapse:collapse;margin:6px 0}td,th{padding:3px 14px 3px 0;border-bottom:1px solid #e6eaf0;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td:first-child,th:first-child,#peak td:last-child{text-align:left}th{font-weight:600;color:#4a5568}
.facts{display:flex;gap:34px;flex-wrap:wrap;margin:14px 0}.facts b{display:block;font-size:19px}
.legend span{display:inline-block;margin-right:18px}.legend i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:6px;vertical-align:-1px}
button{font:inherit;border:1px solid #cbd5e0;background:#fff;border-radius:5px;padding:2px 12px;cursor:pointer}button.on{background:#1c2430;color:#fff;border-color:#1c2430}
#tip{position:fixed;pointer-events:none;background:#1c2430;color:#fff;padding:6px 10px;border-radius:5px;font-size:12px;display:none;white-space:pre;z-index:2}
#errors{color:#c0392b;white-space:pre-wrap}.scroll{max-height:420px;overflow:auto}
.bar{display:inline-block;height:9px;border-radius:2px;vertical-align:1px}
)css";

constexpr const char* kBody = R"html(
<h1 id="title"></h1><p id="subtitle"></p><pre id="errors"></pre>
<div class="facts" id="facts"></div>
<h2>Memory over time, by address</h2>
<div class="legend" id="legend"></div>
<p>Each rectangle is a buffer: as high as it is large, where it lies in the arena, as long as it is needed. Where two overlap, a result grows into what has been read for the last time.
<button id="by-step" class="on">steps</button> <button id="by-time">measured time</button></p>
<svg id="map" viewBox="0 0 1140 500"></svg>
<h2>Bytes in use by operator</h2><svg id="use" viewBox="0 0 1140 186"></svg>
<div id="power-part"><h2 id="power-title"></h2><p id="power-facts"></p><svg id="banks" viewBox="0 0 1140 290"></svg></div>
<h2 id="peak-title"></h2><table id="peak"></table>
<div id="moves-part"><h2>Space for time</h2><p>Groups of layers that run in bands of rows: the most in use while they run, before and after. Borders of bands are kept, or made again with more multiplications. <span id="again"></span></p><table id="moves"></table><table id="remade"></table></div>
<div id="coded-part"><h2>Waiting in coded form</h2><table id="coded"></table></div>
<h2>Where the weights are</h2><table id="modes"></table>
<h2>Operators</h2><div class="scroll"><table id="ops"></table></div>
<div id="tip"></div>
)html";

constexpr const char* kScript = R"js(
'use strict';
const by = id => document.getElementById(id);
window.onerror = (message, source, line) => { by('errors').textContent += message + ' (line ' + line + ')\n'; };
const R = JSON.parse(by('data').textContent);
const colours = {input: '#4c9f70', activation: '#5b8def', coded: '#3fa7b5', state: '#b07fd8', scratch: '#e0a030', output: '#d9605a', post: '#8a6d5a'};
const words = {input: 'input frame', activation: 'activations', coded: 'waiting in coded form', state: 'state', scratch: 'decoding and scratch', output: 'results', post: 'post-processing'};
const size = b => b >= 1e6 ? (b / 1e6).toPrecision(4) + ' MB' : b >= 1e3 ? (b / 1e3).toPrecision(4) + ' kB' : b + ' B';
const count = n => n.toLocaleString('en');
const time = us => us >= 1e3 ? (us / 1e3).toPrecision(3) + ' ms' : us.toPrecision(3) + ' µs';
const named = o => o.name.startsWith(o.op) ? o.name : o.op + ' ' + o.name;  // names that files don't keep begin with the operator
const text = (tag, content) => { const e = document.createElement(tag); e.textContent = content; return e; };
const shape = (tag, attributes, parent) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  parent.appendChild(e);
  return e;
};
const label = (parent, x, y, content, anchor) => { const e = shape('text', {x, y, 'text-anchor': anchor || 'start'}, parent); e.textContent = content; return e; };
const tip = (e, content) => {
  e.addEventListener('mousemove', v => { const t = by('tip'); t.textContent = content; t.style.display = 'block'; t.style.left = Math.min(v.clientX + 14, innerWidth - 320) + 'px'; t.style.top = v.clientY + 14 + 'px'; });
  e.addEventListener('mouseleave', () => { by('tip').style.display = 'none'; });
};
const table = (id, heads, rows) => {
  const t = by(id), h = t.insertRow();
  for (const x of heads) h.appendChild(text('th', x));
  const left = x => typeof x == 'string' && !/^[-+\d]/.test(x);  // words; numbers stand on the right
  rows.forEach((r, i) => {
    const row = t.insertRow();
    r.forEach((x, c) => {
      const cell = row.insertCell();
      x instanceof Node ? cell.appendChild(x) : cell.textContent = x;
      if (left(x)) cell.style.textAlign = 'left';
      if (left(x) && i == 0) h.cells[c].style.textAlign = 'left';
    });
  });
};
const tick = range => { const p = 10 ** Math.floor(Math.log10(Math.max(range, 1) / 4)); return [5, 2, 1].map(m => m * p).find(s => range / s >= 4) || p; };
const L = 76, W = 1040, ops = R.operators, buffers = R.buffers;
const total = ops.length ? ops[ops.length - 1].start_us + ops[ops.length - 1].us : 0;
const arena = Math.max(R.arena_bytes, 1);
let timed = false;
const x = step => L + W * (timed && total > 0 ? (step < ops.length ? ops[step].start_us : total) / total : step / Math.max(ops.length, 1));
const axis = (svg, H, top, most) => {
  for (let b = 0; b <= most; b += tick(most)) {
    const y = top + H - H * b / most;
    shape('line', {x1: L, x2: L + W, y1: y, y2: y, stroke: '#e6eaf0'}, svg);
    label(svg, L - 8, y + 4, size(b), 'end');
  }
};
const under = (svg, y) => {
  const n = 8;
  for (let i = 0; i <= n; ++i) label(svg, L + W * i / n, y, timed && total > 0 ? time(total * i / n) : 'step ' + Math.round(ops.length * i / n), i == n ? 'end' : i ? 'middle' : 'start');
};
const marker = (svg, top, H) => {  // where the peak is, however thin its step
  const at = (x(R.peak.step) + x(R.peak.step + 1)) / 2, left = at > L + W / 2;
  shape('line', {x1: at, x2: at, y1: top, y2: top + H, stroke: '#1c2430', 'stroke-width': 0.8, 'pointer-events': 'none'}, svg);
  const e = label(svg, at + (left ? -5 : 5), top + H + 32, 'peak, step ' + R.peak.step + ': ' + size(R.peak.bytes_in_use), left ? 'end' : 'start');
  e.setAttribute('pointer-events', 'none');
};
const draw = () => {
  const map = by('map'), use = by('use');
  map.replaceChildren(); use.replaceChildren();
  const H = 440, top = 14;
  axis(map, H, top, arena);
  const names = [];  // on top of all rectangles
  for (const b of buffers) {
    const y = top + H - H * (b.offset + b.bytes) / arena, w = Math.max(x(b.last + 1) - x(b.first), 0.5), h = Math.max(H * b.bytes / arena, 0.5);
    const r = shape('rect', {x: x(b.first), y, width: w, height: h, fill: colours[b.kind] || '#999', 'fill-opacity': 0.82, stroke: '#fff', 'stroke-width': w > 3 && h > 3 ? 0.6 : 0}, map);
    tip(r, b.name + '\n' + words[b.kind] + ', ' + size(b.bytes) + ' at ' + count(b.offset) + '\nsteps ' + b.first + ' to ' + b.last);
    if (h > 13 && w > 40) names.push([x(b.first) + 4, y + 11, w, b.name]);
  }
  for (const [at, y, w, name] of names) {  // as far as its rectangle, or the next name beside it
    const room = Math.floor(Math.min(w, ...names.map(n => n[0] > at && Math.abs(n[1] - y) < 11 ? n[0] - at : w)) / 6.4);
    if (room < 5) continue;
    const e = label(map, at, y, name.length > room ? name.slice(0, room - 1) + '…' : name);
    e.style.fill = '#fff';
    e.setAttribute('pointer-events', 'none');
  }
  shape('line', {x1: L, x2: L + W, y1: top, y2: top, stroke: '#1c2430', 'stroke-dasharray': '5 3'}, map);
  label(map, L + W, top - 3, 'arena: ' + count(R.arena_bytes) + ' bytes', 'end');
  under(map, top + H + 18);
  marker(map, top, H);
  axis(use, 130, 14, arena);
  ops.forEach((o, i) => {
    const h = 130 * o.bytes_in_use / arena;
    const r = shape('rect', {x: x(i), y: 144 - h, width: Math.max(x(i + 1) - x(i) - (ops.length < 200 ? 1 : 0), 0.5), height: h, fill: i == R.peak.step ? '#d9605a' : '#5b8def'}, use);
    tip(r, i + ' ' + named(o) + '\n' + size(o.bytes_in_use) + ' in use, ' + count(o.macs) + ' MACs, ' + time(o.us));
  });
  under(use, 164);
  marker(use, 14, 130);
  if (R.power) drawBanks();
};
const drawBanks = () => {  // rows of banks by address; a held bank sleeps, a touched one is awake, the others are off
  const svg = by('banks'), P = R.power, H = 250, top = 14;
  svg.replaceChildren();
  const used = Math.max(1, ...P.operators.flatMap(o => o.held.concat(o.awake).map(r => r[1])));
  for (let b = 0; b <= used; b += Math.max(1, tick(used))) label(svg, L - 8, top + H - H * b / used + 4, 'bank ' + b, 'end');
  P.operators.forEach((o, i) => {
    for (const [runs, fill, word] of [[o.held, '#c9d8ee', 'asleep'], [o.awake, '#e0912f', 'awake']]) {
      for (const [a, b] of runs) {
        const r = shape('rect', {x: x(i), y: top + H - H * b / used, width: Math.max(x(i + 1) - x(i), 0.5), height: H * (b - a) / used, fill}, svg);
        tip(r, i + ' ' + named(ops[i]) + '\n' + word + ': banks ' + a + ' to ' + (b - 1) + '\n' + o.unit + ', ' + time(o.us) + ', ' + o.uJ.toPrecision(3) + ' µJ on ' + P.target);
      }
    }
  });
  under(svg, top + H + 18);
};
by('title').textContent = R.model;
by('subtitle').textContent = 'Everything here is planned before anything runs; only times are measured (one thread, this machine, median of five runs).';
const fact = (name, value) => { const d = text('div', name); d.prepend(text('b', value)); by('facts').appendChild(d); };
fact('the file', size(R.bytes)); fact('the arena', size(R.arena_bytes));
if (R.lower_bound) fact('no plan of this order is smaller', size(R.lower_bound));
if (R.float32_peak) fact('in float32, layer by layer', size(R.float32_peak) + ' (' + (R.float32_peak / arena).toFixed(1) + 'x)');
fact('one run', time(total));
for (const k of Object.keys(words)) if (buffers.some(b => b.kind == k)) { const s = text('span', words[k]), i = document.createElement('i'); i.style.background = colours[k]; s.prepend(i); by('legend').appendChild(s); }
const alive = buffers.filter(b => b.first <= R.peak.step && b.last >= R.peak.step).sort((a, b) => b.bytes - a.bytes);
by('peak-title').textContent = 'What makes the peak: ' + size(R.peak.bytes_in_use) + ' at step ' + R.peak.step + (ops.length ? ', ' + named(ops[R.peak.step]) : '');
const bar = (bytes, colour) => { const s = text('span', ''); s.className = 'bar'; s.style.width = Math.max(1, 220 * bytes / arena) + 'px'; s.style.background = colour; return s; };
table('peak', ['buffer', 'kind', 'bytes', ''], alive.map(b => [b.name, words[b.kind], count(b.bytes), bar(b.bytes, colours[b.kind])]));
if (R.power) {
  const P = R.power;
  by('power-title').textContent = 'Banks of ' + P.target + ' awake (orange) and asleep (blue)';
  by('power-facts').textContent = P.banks + ' banks of ' + size(P.bank_bytes) + '; ' + P.latency_ms.toPrecision(4) + ' ms a frame at ' + P.MHz.toFixed(0) + ' MHz, ' + P.mW.toPrecision(3) + ' mW flat out, predicted by the virtual chip' + (P.fits ? '' : '; IT DOES NOT FIT');
} else by('power-part').style.display = 'none';
if (R.coded && R.coded.length) table('coded', ['tensor', 'values', 'bytes', 'bits a value'], R.coded.map(c => [c.name, count(c.values), count(c.bytes), (8 * c.bytes / c.values).toFixed(2)]));
else by('coded-part').style.display = 'none';
const again = R.moves.concat(R.remade || []).reduce((sum, m) => sum + m.macs, 0), own = ops.reduce((sum, o) => sum + o.macs, 0) - again;
const more = macs => macs ? count(macs) + ' (' + (100 * macs / own).toFixed(2) + ' %)' : '0';
if (again) by('again').textContent = 'In all ' + more(again) + ' multiplications more than the network has.';
if (R.moves.length) table('moves', ['from', 'to', 'layers', 'bands', 'borders', 'before', 'after', 'more MACs', 'more operators'], R.moves.map(m => [m.first, m.last, m.layers, m.bands, m.borders, size(m.bytes_before), size(m.bytes_after), more(m.macs), count(m.operators)]));
if (R.remade && R.remade.length) table('remade', ['made again before its late use', 'need not wait', 'operators', 'more MACs'], R.remade.map(r => [r.name, size(r.bytes), count(r.operators), more(r.macs)]));
if (!R.moves.length && !(R.remade && R.remade.length)) by('moves-part').style.display = 'none';
table('modes', ['--memory', 'file', 'model', 'arena and scratch', 'together'], R.modes.map(m => [m.mode, count(m.file_bytes), count(m.model_bytes), count(m.instance_bytes), count(m.together_bytes)]));
table('ops', ['step', 'operator', 'result', 'shape', 'MACs', 'coded bytes', 'scratch', 'in use', 'time'], ops.map((o, i) => [i, o.op, o.name, o.output.join('x'), count(o.macs), count(o.coded_bytes), count(o.scratch_bytes), count(o.bytes_in_use), time(o.us)]));
const choose = on => { timed = on; by('by-time').className = on ? 'on' : ''; by('by-step').className = on ? '' : 'on'; draw(); };
by('by-step').onclick = () => choose(false);
by('by-time').onclick = () => choose(true);
if (location.hash == '#time') choose(true); else draw();
document.body.dataset.ready = 'true';
)js";

// JSON may stand in a script element if it can't end it.
std::string embedded(const std::string& json) {
  std::string out;
  for (char c : json) out += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return out;
}

}  // namespace

std::string report_page(const std::string& title, const std::string& json) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + escape_xml(title) + ": memory</title>\n<style>" + kStyle + "</style></head>\n<body>" + kBody +
         "<script type=\"application/json\" id=\"data\">" + embedded(json) + "</script>\n<script>" + kScript + "</script></body></html>\n";
}

}  // namespace pith::cli
