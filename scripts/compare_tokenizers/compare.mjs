// node compare.mjs NAME FOLDER: encodes FOLDER's strings with the peer and says where ours.jsonl
// differs, in ids or in the text that they decode to. Exit status 1 if it does anywhere.
import fs from 'node:fs';
import path from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { tiktokenPeer } from './tiktoken_peer.mjs';

const [name, folder] = process.argv.slice(2);
const readLines = (file) =>
  fs.readFileSync(path.join(folder, file), 'utf8').split('\n').slice(0, -1).map(JSON.parse);
const readJson = (file) => JSON.parse(fs.readFileSync(path.join(folder, file), 'utf8'));

function huggingFacePeer() {
  const tokenizer = new Tokenizer(readJson('tokenizer.json'), readJson('tokenizer_config.json'));
  return {
    encode: (text) => tokenizer.encode(text, { add_special_tokens: false }).ids,
    decode: (ids) => tokenizer.decode(ids,
      { skip_special_tokens: false, clean_up_tokenization_spaces: false }),
  };
}

function brief(value) {
  const text = JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}... (${text.length})` : text;
}

// Phi's special tokens swallow the whitespace after them. For JavaScript that has U+FEFF among it
// and lacks U+0085; for Unicode and for Hugging Face's own library it is the other way round.
const SWALLOWED = />\s*[\u0085\ufeff]/;

const peer = name === 'kimi' ? tiktokenPeer(folder) : huggingFacePeer();
const strings = readLines('strings.jsonl');
const ours = readLines('ours.jsonl');
let ids = 0;
let texts = 0;
let skipped = 0;
for (const [at, text] of strings.entries()) {
  const expected = name === 'phi' && SWALLOWED.test(text) ? null : peer.encode(text);
  if (expected === null) {
    ++skipped;
    continue;
  }
  if (JSON.stringify(expected) !== JSON.stringify(ours[at].ids)) {
    if (++ids <= 10) console.log(`ids: ${brief(text)}\n  peer ${brief(expected)}\n  ours ${brief(ours[at].ids)}`);
  } else if (text !== '' && peer.decode(expected) !== ours[at].text) {
    if (++texts <= 10) console.log(`text: ${brief(text)}\n  peer ${brief(peer.decode(expected))}\n  ours ${brief(ours[at].text)}`);
  }
}
console.log(`${name}: ${strings.length} strings, ${ids} differ in ids, ${texts} in text, ${skipped} skipped`);
process.exitCode = ids + texts > 0 ? 1 : 0;
