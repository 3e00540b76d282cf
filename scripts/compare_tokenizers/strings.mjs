// The strings that tokenizers are compared on: the same in every run.

// A small generator of 32-bit numbers (mulberry32), so that the strings are always the same.
function randomFrom(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const WORDS = {
  english: 'the of and it was in that his with said are not which one would there their been ' +
    "Doppler don't I'll WE'RE it's HTTPServer camelCase snake_case Running unbelievable",
  german: 'Straße über größer Äpfel Öl Übung Rechtschreibprüfung für nächste Maß',
  french: 'déjà été garçon naïve œuvre l’été à Noël où çà',
  russian: 'привет мир Москва что это было хорошо человек Россия',
  greek: 'και Ελλάδα είναι ὁμοίως ἀρχή λόγος ΣΊΣΥΦΟΣ ς',
  arabic: 'السلام عليكم كتاب في من على مُحَمَّد ٱللَّه ٣٤٥',
  hebrew: 'שלום עולם בְּרֵאשִׁית ירושלים',
  hindi: 'नमस्ते दुनिया क्षेत्र हिन्दी में १२३ ज़िंदगी',
  bengali: 'আমার সোনার বাংলা ভালোবাসি',
  tamil: 'தமிழ் வணக்கம் நன்றி',
  thai: 'สวัสดีครับ ประเทศไทย ภาษาไทย ๑๒๓',
  chinese: '你好 世界 中文 模型 的 是 在 我们 龥 㐀 𠮷 〇 々 〆',
  japanese: 'こんにちは カタカナ 日本語 ひらがな ー ゟ ヿ ｶﾀｶﾅ 人々 ヶ',
  korean: '안녕하세요 세계 한국어 ㄱㄴㄷ 각',
  georgian: 'საქართველო გამარჯობა Ⴀ ᲐᲑᲒ',
  armenian: 'Հայաստան բարեւ և',
  vietnamese: 'Việt Nam tiếng đường người không',
  turkish: 'İstanbul ılık şöyle çünkü ğ',
  amharic: 'ሰላም ኢትዮጵያ',
  mathematical: '𝐇𝐞𝐥𝐥𝐨 ∀x∈ℝ ∑ √2 ≤ ⇒ ½ ² ³ Ⅳ ⑦ ① ℵ₀ 𝟙',
  decomposed: 'e\u0301 o\u0308 a\u030a n\u0303 u\u0323\u0302 \u1100\u1161\u11a8 K\u212b s\u0307\u0323 \u0958 \u2126',
};
const EMOJI = ['😀', '👩‍👩‍👧‍👦', '🏳️‍🌈', '👍🏽', '🇩🇪🇫🇷', '❤️', '☕', '🧑🏿‍💻', '0️⃣', '🫠', '\u{1F9D1}\u200d'];
const CODE = ['if (x == 0) { return y[i++]; }', 'def f(a, b=None):\n    return a ** 2  # ok',
  '#include <vector>\n\tint main() {}', 'SELECT * FROM t WHERE a<>"b";', '</div><p class="x">',
  "const re = /\\s+(?!\\S)/u;", '{"key": [1, 2.5e-3, null]}', 'https://example.org/a?b=c&d=%20#e',
  'a->b::c<T>()', 'fn main() -> Result<(), Box<dyn Error>> {', '\r\n\r\n  ', '\t\t\t', '\\n\\t',
  '/* ... */ // ---', '$x = @{a} | %{ $_ }', "'''''", '"""', '``` ', '!!!???...', '—–-_', '++i--;'];
const SPACES = [' ', '  ', '   ', '\n', '\n\n', '\r\n', '\t', ' \n ', '\u00a0', '\u3000', '\u2003',
  '\u200b', '\ufeff', '\u2028', '\u0085', '\u180e', '\u1680', '\u202f', '\v', '\f', '\x1c'];
const CONTROL = ['\0', '\x01', '\x07', '\x1b[0m', '\x7f', '\u0080', '\u009f', '\u200e', '\u202e',
  '\ufffd', '\uffff', '\ue000', '\u{10ffff}', '\u{e0041}', '\ufe0f', '\u200d', '\u0301'];
const MARKS = ['▁', '▁▁', ' ▁', '<0x0A>', '<0xE6>', 'Ġ', 'ſ', 'K', "'ſ", "'S", "'LL", "'Ve", '’s'];

function digits(random) {
  let out = '';
  for (let left = 1 + random(12); left > 0; --left) out += random(10);
  return out;
}

// Ranges that no version of Unicode since 14 has added letters, digits or symbols to: node and PCRE2 need not
// know the same version.
const STABLE = [[0, 0x85f], [0x900, 0xbff], [0x10a0, 0x1aad], [0x1e00, 0x2426], [0x2440, 0x2fd5],
  [0x3000, 0x31e3], [0x31f0, 0xa7c9], [0xac00, 0xd7a3], [0xe000, 0xfbbf], [0xfe00, 0xffff], [0x10000, 0x1018f],
  [0x1d400, 0x1d7ff], [0x1f300, 0x1f6d7], [0x20000, 0x2a6df], [0xe0000, 0xe01ef],
  [0x10fff0, 0x10ffff]];

function codePoint(random) {
  const [first, last] = STABLE[random(STABLE.length)];
  return String.fromCodePoint(first + random(last - first + 1));
}

// One piece of a string, of a kind that is drawn anew.
function piece(random, special) {
  const pick = (list) => list[random(list.length)];
  const words = () => pick(WORDS[pick(Object.keys(WORDS))].split(' '));
  switch (random(16)) {
    case 0: case 1: case 2: case 3: return words();
    case 4: case 5: return ' ' + words();
    case 6: return pick(WORDS.english.split(' ')) + ' ';
    case 7: return pick(EMOJI);
    case 8: return pick(CODE);
    case 9: return pick(SPACES).repeat(1 + random(random(8) === 0 ? 40 : 3));
    case 10: return digits(random);
    case 11: return pick(CONTROL);
    case 12: return pick(MARKS);
    case 13: return codePoint(random);
    case 14: return special.length > 0 ? pick(special) : '<s>';
    default: return String.fromCharCode(32 + random(95)).repeat(1 + random(4));
  }
}

// Texts of some 100,000 characters, of which a few are hard for a joiner of pairs.
function longTexts(random) {
  const out = [' '.repeat(100000), 'a'.repeat(100000), '▁'.repeat(50000), 'ab'.repeat(50000),
    '\n'.repeat(100000), '日本'.repeat(50000), '9'.repeat(100000), '👩‍👩‍👧‍👦'.repeat(9000)];
  let mixed = '';
  while (mixed.length < 100000) mixed += piece(random, []);
  let letters = '';
  while (letters.length < 100000) letters += String.fromCharCode(97 + random(26));
  let english = '';
  const words = WORDS.english.split(' ');
  while (english.length < 100000) english += words[random(words.length)] + ' ';
  return [...out, mixed, letters, english];
}

// `count` strings and the long ones. `special` are tokens to write into some of them.
export function makeStrings(count, special, seed = 20261124) {
  const random = randomFrom(seed);
  const out = ['', ' ', '  ', '\n', 'a', ...Object.values(WORDS), ...EMOJI, ...CODE, ...SPACES,
    ...CONTROL, ...MARKS, ...special];
  while (out.length < count) {
    let text = '';
    for (let left = 1 + random(12); left > 0; --left) text += piece(random, special);
    out.push(text.toWellFormed ? text.toWellFormed() : text);
  }
  return [...out, ...longTexts(random)];
}
