// node write_gguf.mjs NAME FOLDER: writes FOLDER/tokenizer.gguf, which says of FOLDER's
// tokenizer.json what a GGUF can say. Scores follow from the order of the merges; tokens of
// whitespace alone share the lowest, as SentencePiece has it.
import fs from 'node:fs';
import path from 'node:path';

const [name, folder] = process.argv.slice(2);
const PRE = { llama3: 'llama-bpe', qwen3: 'qwen2', gpt_oss: 'gpt-4o', deepseek_v3: 'deepseek-v3' };
const json = JSON.parse(fs.readFileSync(path.join(folder, 'tokenizer.json'), 'utf8'));
const parts = [];

function number(size, value, write) {
  const bytes = Buffer.alloc(size);
  bytes[write](value);
  parts.push(bytes);
}
const u32 = (value) => number(4, value, 'writeUInt32LE');
const u64 = (value) => number(8, BigInt(value), 'writeBigUInt64LE');
function text(value) {
  const bytes = Buffer.from(value);
  u64(bytes.length);
  parts.push(bytes);
}
const STRING = { type: 8, write: text };
const INT32 = { type: 5, write: (value) => number(4, value, 'writeInt32LE') };
const FLOAT32 = { type: 6, write: (value) => number(4, value, 'writeFloatLE') };
function pair(key, value) {
  text(key);
  u32(STRING.type);
  text(value);
}
function list(key, kind, values) {
  text(key);
  u32(9);
  u32(kind.type);
  u64(values.length);
  values.forEach(kind.write);
}

const spm = !(name in PRE);
const { vocab, merges } = json.model;
const ids = [...Object.values(vocab), ...json.added_tokens.map((token) => token.id)];
const size = ids.reduce((a, b) => Math.max(a, b)) + 1;
const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
const types = Array(size).fill(5);
const scores = Array(size).fill(-1e6);
for (const [token, id] of Object.entries(vocab)) {
  tokens[id] = token;
  types[id] = spm && /^<0x..>$/.test(token) ? 6 : 1;
}
for (const token of json.added_tokens) {
  tokens[token.id] = token.content;
  types[token.id] = token.content === '<unk>' ? 2 : token.special ? 3 : 4;
}
const joined = merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')));
if (spm) {
  joined.forEach((merge, rank) => {
    const id = vocab[merge.replace(' ', '')];
    if (scores[id] === -1e6) scores[id] = -rank;
  });
  for (const [token, id] of Object.entries(vocab)) if (/^▁▁+$/.test(token)) scores[id] = -1e9;
}

parts.push(Buffer.from('GGUF'));
u32(3);
u64(0);
u64(spm ? 5 : 6);
pair('general.architecture', name === 'phi' ? 'phimoe' : 'llama');
pair('tokenizer.ggml.model', spm ? 'llama' : 'gpt2');
list('tokenizer.ggml.tokens', STRING, tokens);
list('tokenizer.ggml.token_type', INT32, types);
if (spm) {
  list('tokenizer.ggml.scores', FLOAT32, scores);
} else {
  pair('tokenizer.ggml.pre', PRE[name]);
  list('tokenizer.ggml.merges', STRING, joined);
}
parts.push(Buffer.alloc(64));
fs.writeFileSync(path.join(folder, 'tokenizer.gguf'), Buffer.concat(parts));
