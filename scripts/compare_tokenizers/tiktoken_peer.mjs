// js-tiktoken with the ranks of a tiktoken.model and Kimi's pattern, written for JavaScript: && and
// scripts need the flag v, (?i:...) is spelled out with what folds to those letters, and \s there
// has other members than in Rust.
import fs from 'node:fs';
import path from 'node:path';
import { Tiktoken } from 'js-tiktoken/lite';

const SUFFIX = "(?:'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?";
const UPPER = '[[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]&&[^\\p{Script=Han}]]';
const LOWER = '[[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]&&[^\\p{Script=Han}]]';
const PATTERN = ['\\p{Script=Han}+',
  `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+${SUFFIX}`,
  `[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*${SUFFIX}`,
  '\\p{N}{1,3}', ' ?[^\\p{White_Space}\\p{L}\\p{N}]+[\\r\\n]*', '\\p{White_Space}*[\\r\\n]+',
  '\\p{White_Space}+(?!\\P{White_Space})', '\\p{White_Space}+'].join('|');

// Its joining of pairs is quadratic.
const LONGEST_WORD = 4000;

export function tiktokenPeer(folder) {
  const model = fs.readFileSync(path.join(folder, 'tiktoken.model'), 'utf8').trim().split('\n');
  const config = JSON.parse(fs.readFileSync(path.join(folder, 'tokenizer_config.json'), 'utf8'));
  const special = {};
  for (let id = model.length; id < model.length + 258; ++id) {
    special[config.added_tokens_decoder[id]?.content ?? `<|reserved_token_${id}|>`] = id;
  }
  const byRank = [];
  for (const line of model) {
    const [token, rank] = line.split(' ');
    byRank[rank] = token;
  }
  const ranks = `! 0 ${byRank.join(' ')}`;
  // The package asks for the flags "ug".
  const Plain = globalThis.RegExp;
  globalThis.RegExp = class extends Plain {
    constructor(pattern, flags) {
      super(pattern, pattern === PATTERN ? 'vg' : flags);
    }
  };
  const encoder = new Tiktoken({ bpe_ranks: ranks, special_tokens: special, pat_str: PATTERN });
  encoder.textDecoder = new TextDecoder('utf-8', { ignoreBOM: true });  // or U+FEFF would be lost
  const words = new Plain(PATTERN, 'vg');
  const tooLong = (text) =>
    text.length > LONGEST_WORD && text.match(words).some((word) => word.length > LONGEST_WORD);
  return {
    encode: (text) => (tooLong(text) ? null : encoder.encode(text, 'all')),
    decode: (ids) => encoder.decode(ids),
  };
}
