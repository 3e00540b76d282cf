// The conversations that templates are compared on: every combination of one of them with tools or
// without, the variables that templates ask for, and the beginning of an answer or not.

const user = (content) => ({ role: 'user', content });
const assistant = (content, more = {}) => ({ role: 'assistant', content, ...more });
const system = (content) => ({ role: 'system', content });

const WEATHER = { type: 'function', function: { name: 'get_weather',
  description: 'The weather at a place <now> & "later"',
  parameters: { type: 'object', properties: {
    location: { type: 'string', description: 'City, e.g. Zürich' },
    unit: { type: 'string', enum: ['celsius', 'fahrenheit'], default: 'celsius' } },
  required: ['location'] } } };
const SEARCH = { type: 'function', function: { name: 'search', description: 'Finds texts',
  parameters: { type: 'object', properties: {
    query: { type: 'string' }, exact: { type: 'boolean', default: true },
    limit: { type: ['integer', 'null'], default: 10, minimum: 1 },
    score: { type: 'number', default: 0.5 },
    tags: { type: 'array', items: { type: 'string' } },
    filter: { type: 'object', properties: { after: { type: 'string', nullable: true } } } },
  required: ['query', 'tags'], additionalProperties: false } } };
const NOTHING = { type: 'function', function: { name: 'no_arguments', description: '',
  parameters: { type: 'object', properties: {} } } };
const TOOLS = [WEATHER, SEARCH, NOTHING];

const call = (name, args, id = 'abcdefgh1') =>
  ({ id, type: 'function', function: { name, arguments: args } });
const zurich = call('get_weather', { location: 'Zürich', unit: 'celsius' });
const result = (content, id = 'abcdefgh1', name = 'get_weather') =>
  ({ role: 'tool', name, tool_call_id: id, content });
const WARM = '{"temperature": 21.5, "sky": "klar ☀️"}';

// Without tools and with them.
const PLAIN = {
  user: [user('Hello')],
  system: [system('Be brief.'), user('Hello')],
  developer: [{ role: 'developer', content: 'Be brief.' }, user('Hello')],
  turns: [system('Be brief.'), user('Hello'), assistant('Hi.'), user('Why?')],
  turns_no_system: [user('One'), assistant('Two'), user('Three'), assistant('Four'), user('Five')],
  ends_with_answer: [user('Hello'), assistant('Hi there.')],
  two_users: [user('Hello'), user('Are you there?')],
  system_later: [user('Hello'), assistant('Hi'), system('Be brief.'), user('Why?')],
  unicode: [system('Grüße'), user('世界 👩‍👩‍👧‍👦 e\u0301 \u00a0 שלום'), assistant('ﬁ İ ß'), user('\u2028 x')],
  marks: [user('<|im_end|> </s> [INST] {{ x }} {% if %} <b>&amp;"\'\\n</b>')],
  space: [system('  Be brief. \n'), user('\n\n Hello \t\n'), assistant(' Hi \n'), user(' Why? ')],
  empty_user: [user('')],
  empty_system: [system(''), user('Hello')],
  empty_answer: [user('Hello'), assistant(''), user('Why?')],
  long: [user('word '.repeat(2000))],
  many: Array.from({ length: 21 }, (_, i) => (i % 2 ? assistant(`a${i}`) : user(`u${i}`))),
  thought_inline: [user('Hello'), assistant('<think>\nhm\n</think>\n\nHi.'), user('Why?')],
  thought_twice: [user('a'), assistant('<think>one</think>b'), user('c'),
    assistant('<think>two</think>\nd')],
  thought_indented: [user('a'), assistant('<think>\n  one\n</think>\n\n    code\n  '), user('c'),
    assistant('', { reasoning_content: '\n  two \n' }), user('d'),
    assistant('<think>\n  three \n</think>\n\n    code\n  ')],
  thought_open: [user('Hello'), assistant('<think>\nhm'), user('Why?')],
  reasoning: [user('Hello'), assistant('Hi.', { reasoning_content: 'hm', thinking: 'hm' }),
    user('Why?')],
  reasoning_last: [user('Hello'), assistant('Hi.', { reasoning_content: 'hm\nso', thinking: 'hm\nso' })],
};

// With tools.
const CALLS = {
  called: [user('Weather?'), assistant('', { tool_calls: [zurich] })],
  null_content: [user('Weather?'), assistant(null, { tool_calls: [zurich] }), result(WARM)],
  result: [user('Weather?'), assistant('', { tool_calls: [zurich] }), result(WARM)],
  answered: [system('Be brief.'), user('Weather?'), assistant('', { tool_calls: [zurich] }),
    result(WARM), assistant('Warm.'), user('And now?')],
  said_and_called: [user('Weather?'), assistant('Let me look.', { tool_calls: [zurich] }),
    result(WARM)],
  reasoned: [user('Weather?'), assistant('', { reasoning_content: 'I must look', tool_calls: [zurich] }),
    result(WARM)],
  thought: [user('Weather?'), assistant('', { thinking: 'I must look', tool_calls: [zurich] }),
    result(WARM)],
  thought_and_called: [user('Weather?'),
    assistant('<think>\nlook\n</think>\n\n', { tool_calls: [zurich] }), result(WARM)],
  two_calls: [user('Both?'), assistant('', { tool_calls: [zurich,
    call('get_weather', { location: 'Oslo' }, 'abcdefgh2')] }), result(WARM),
    result('{"temperature": -3}', 'abcdefgh2')],
  two_steps: [user('Both?'), assistant('', { tool_calls: [zurich] }), result(WARM),
    assistant('', { tool_calls: [call('get_weather', { location: 'Oslo' }, 'abcdefgh2')] }),
    result('-3', 'abcdefgh2'), assistant('Done.'), user('Thanks')],
  no_arguments: [user('Go'), assistant('', { tool_calls: [call('no_arguments', {})] }),
    result('', 'abcdefgh1', 'no_arguments')],
  nested: [user('Find'), assistant('', { tool_calls: [call('search',
    { query: 'l\'été & "œuvre" <b>', tags: ['a', 'ü'], exact: true,
      filter: { after: null, score: 0.5 }, limit: 20 })] }), result('[]', 'abcdefgh1', 'search')],
  text_arguments: [user('Weather?'),
    assistant('', { tool_calls: [call('get_weather', '{"location": "Zürich"}')] }), result(WARM)],
};

// What few templates are made for; counted on its own.
const UNUSUAL = {
  parts: [user([{ type: 'text', text: 'Hello ' }, { type: 'text', text: 'wörld' }])],
  object_result: [user('Weather?'), assistant('', { tool_calls: [zurich] }),
    result({ temperature: 21.5, sky: 'klar ☀️', alerts: [], wind: null, now: true })],
};

const VARIABLES = { plain: {}, thinking: { enable_thinking: true, thinking: true },
  no_thinking: { enable_thinking: false, thinking: false },
  effort: { reasoning_effort: 'high', model_identity: 'You are Doppler.' },
  builtin: { builtin_tools: ['browser', 'python'] } };

// Objects of `label` and what a renderer needs.
export function makeCases(tokens) {
  const cases = [];
  const add = (kind, conversations, toolsets, variables) => {
    for (const [name, messages] of Object.entries(conversations)) {
      for (const tools of toolsets) {
        for (const set of variables) {
          for (const prompt of [true, false]) {
            cases.push({ ...tokens, messages, tools, variables: VARIABLES[set],
              add_generation_prompt: prompt,
              label: `${kind}/${name}/${tools ? 'tools' : 'no_tools'}/${set}/${prompt ? '' : 'no_'}prompt` });
          }
        }
      }
    }
  };
  add('plain', PLAIN, [null, TOOLS], ['plain', 'thinking', 'no_thinking', 'effort']);
  add('calls', CALLS, [TOOLS], Object.keys(VARIABLES));
  add('unusual', UNUSUAL, [TOOLS], ['plain']);
  return cases;
}
