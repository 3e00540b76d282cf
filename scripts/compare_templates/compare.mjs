// node compare.mjs FOLDER FAMILY: renders the family's conversations with the peer and says where
// NAME.ours (doppler_render's) differs, and why. Exit status 1 if there is a difference for no known
// reason, or if neither the peer nor Jinja2 (NAME.jinja2) writes what we do.
//
//   same, both_refuse  no difference
//   npm_cannot         the peer lacks something, and Jinja2 writes what we do
//   spelling           True, None, 'x' of Python against true, null, "x"; Jinja2 writes what we do
//   joins_no_text      the peer joins text with a list or an object, which Python and we refuse
//   undefined          selectattr(NAME, "undefined") finds nothing in the peer
//   strips             strip, lstrip and rstrip of the peer ignore which characters to strip
//   loose              '' equals false in the peer
//   not_jinja2         as the peer but not as Jinja2, or Jinja2 refuses a generator
import fs from 'node:fs';
import path from 'node:path';
import { Template } from '@huggingface/jinja';

const [root, family] = process.argv.slice(2);
const folder = path.join(root, family);
const readLines = (file) =>
  fs.readFileSync(path.join(folder, file), 'utf8').split('\n').slice(0, -1).map(JSON.parse);

function renderer(source) {
  let template;
  try {
    template = new Template(source);
  } catch (error) {
    return () => ({ error: error.message });
  }
  return ({ label, variables, ...rest }) => {
    try {
      // null, as transformers gives it, for none.
      return { text: template.render({ documents: null, ...rest, ...variables }) };
    } catch (error) {
      return { error: error.message };
    }
  };
}

// Texts that are the same but for how values are spelled: Python's True, None and 'x' against
// JavaScript's and JSON's.
const spelled = (text) =>
  text.replace(/\b(?:True|true|False|false|None|null|undefined)\b/g, (word) =>
    ({ t: 'T', f: 'F' })[word[0].toLowerCase()] ?? '').replace(/\\?["']/g, "'");

// What the peer's messages say that it lacks, or refuses where Python goes on.
const LACKS = /^(Unknown|Cannot|Expected|Object keys|Unexpected|Parser|Missing|Invalid|.* is not )/;

function differenceOf(peer, ours, source) {
  if (peer.error !== undefined) return LACKS.test(peer.error) ? 'npm_cannot' : 'unexplained';
  if (ours.error !== undefined) {
    if (/is not possible between str and|between \w+ and str/.test(ours.error)) return 'joins_no_text';
    const alternates = /roles must alternate/.test(ours.error);
    return alternates && /selectattr\("\w+", "undefined"\)/.test(source) ? 'undefined' : 'unexplained';
  }
  if (spelled(peer.text) === spelled(ours.text)) return 'spelling';
  if (/\[object \w+\]/.test(peer.text)) return 'joins_no_text';
  const same = spelled(peer.text).replace(/\s+/g, '') === spelled(ours.text).replace(/\s+/g, '');
  if (same && /\b(None|True|False)\b/.test(ours.text)) return 'spelling';
  if (same && /[lr]?strip\(['"]/.test(source)) return 'strips';
  return / != false/.test(source) ? 'loose' : 'unexplained';
}

function equal(a, b) {
  if (a.error !== undefined || b.error !== undefined) return !a.error === !b.error;
  return a.text === b.text;
}

function kindOf(peer, ours, jinja, source) {
  if (!equal(ours, jinja)) {
    const known = equal(ours, peer) || /generator/.test(jinja.error ?? '');
    return known ? 'not_jinja2' : 'unexplained';
  }
  if (!equal(ours, peer)) return differenceOf(peer, ours, source);
  return ours.error === undefined ? 'same' : 'both_refuse';
}

const brief = (text) => JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}...` : text);

// What differs, on two lines.
function difference(peer, ours) {
  if (peer.error !== undefined) return `    other refuses: ${brief(peer.error)}`;
  if (ours.error !== undefined) return `    ours refuses: ${brief(ours.error)}`;
  let at = 0;
  while (peer.text[at] === ours.text[at]) ++at;
  at = Math.max(0, at - 20);
  return `    other ${brief(peer.text.slice(at))}\n    ours  ${brief(ours.text.slice(at))}`;
}

const words = (counts) =>
  Object.entries(counts).map(([kind, count]) => `${count} ${kind}`).join(', ');
const totals = {};
let wrong = 0;
const names = fs.readdirSync(folder).filter((file) => file.endsWith('.jinja'))
  .map((file) => file.replace('.jinja', ''));
for (const name of names) {
  const source = fs.readFileSync(path.join(folder, `${name}.jinja`), 'utf8');
  const render = renderer(source);
  const ours = readLines(`${name}.ours`);
  const jinja = readLines(`${name}.jinja2`);
  const counts = {};
  const shown = new Set();
  for (const [at, item] of readLines(`${name}.cases`).entries()) {
    const peer = render(item);
    const kind = kindOf(peer, ours[at], jinja[at], source);
    if (kind === 'unexplained') ++wrong;
    counts[kind] = (counts[kind] ?? 0) + 1;
    totals[kind] = (totals[kind] ?? 0) + 1;
    if (kind === 'same' || kind === 'both_refuse') continue;
    const text = difference(equal(ours[at], peer) ? jinja[at] : peer, ours[at]);
    if (shown.has(text) || (shown.size >= 5 && kind !== 'unexplained')) continue;
    shown.add(text);
    console.log(`  ${name} ${item.label}: ${kind}\n${text}`);
  }
  console.log(`  ${name}: ${words(counts)}`);
}
console.log(`${family}: ${names.length} templates, ${words(totals)}`);
process.exitCode = wrong > 0 ? 1 : 0;
