// Runs the script of a viewer.html without a browser: the page and WebGL are stood in for, and what is drawn is noted.
// node viewer_stub.js PAGE: prints one JSON object.
"use strict";
const fs = require("fs"), vm = require("vm");
const page = fs.readFileSync(process.argv[2], "utf8");
const blocks = [...page.matchAll(/<script(?: type="([^"]+)" id="([^"]+)")?>([\s\S]*?)<\/script>/g)];
const elements = {};
function element(id) {
  return { id, textContent: "", style: {}, children: [], value: "", clientWidth: 640, clientHeight: 480,
    append(...more) { this.children.push(...more); }, addEventListener() {}, setPointerCapture() {},
    getContext: () => gl };
}
for (const [, type, id, text] of blocks) if (type) Object.assign(elements[id] = element(id), { textContent: text });
for (const [, id] of page.matchAll(/ id="(\w+)"/g)) elements[id] ??= element(id);
const drawn = [], uploads = [], known = { COMPILE_STATUS: 1 };
const gl = new Proxy({}, { get(_, name) {
  if (name === "drawArrays") return (_mode, start, count) => drawn.push([start, count]);
  if (name === "bufferData") return (_target, values) => uploads.push(Array.from(values));
  if (name === "bufferSubData") return (_target, _at, values) => uploads.push(Array.from(values));
  if (name === "readPixels") return (_x, _y, _w, _h, _f, _t, pixel) => { pixel[0] = 3; };  // the third triangle drawn
  if (typeof name === "string" && name === name.toUpperCase()) return name;
  if (name === "getShaderParameter") return () => true;
  return () => ({});
} });
const frames = [];
const context = { document: { getElementById: id => elements[id] || null, createElement: () => element(""), title: "" },
  window: {}, atob: text => Buffer.from(text, "base64").toString("latin1"), requestAnimationFrame: f => frames.push(f) };
const script = blocks.filter(([, type]) => !type).map(([, , , text]) => text).join("\n");
const probe = `;({ pick, show, visible, head, order: Array.from(order), start: Array.from(start), camera, view })`;
const made = vm.runInNewContext(script + probe, context);
function frame() { drawn.length = 0; while (frames.length) frames.shift()(); return drawn.slice(); }
const out = { first: frame(), order: made.order, start: made.start, title: context.document.title,
  lines: elements.parts.children.map(c => c.children.map(x => x.textContent)), about: elements.about.textContent,
  modes: elements.mode.children.map(c => c.value), positions: uploads[0], normals: uploads[1], colors: uploads[2],
  picked: made.pick(10, 10), camera: made.camera() };
elements.parts.children[0].children[0].checked = false;
elements.parts.children[0].children[0].onchange();
out.hidden = frame();
elements.none.onclick(); out.none = frame();
elements.all.onclick(); out.all = frame();
elements.mode.value = "confidence"; elements.mode.onchange(); out.confidence = uploads[uploads.length - 1];
console.log(JSON.stringify(out));
