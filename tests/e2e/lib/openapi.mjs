/*
 * Holds answers of bermd against docs/openapi.json: the status, the type and the whole shape. What the document calls
 * an object has no members here but those it names, so that a new one has to be told there.
 */
import Ajv from 'ajv/dist/2020.js';
import fs from 'node:fs';

export const document = JSON.parse(fs.readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8'));

function close(schema) {
  if (Array.isArray(schema)) return schema.map(close);
  if (schema === null || typeof schema !== 'object') return schema;
  const closed = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, close(value)]));
  if (closed.type === 'object' && closed.properties && closed.additionalProperties === undefined) closed.additionalProperties = false;
  return closed;
}

const ajv = new Ajv({ strict: false, validateFormats: false });
ajv.addSchema({ $id: 'berm', components: { schemas: close(document.components.schemas) } });
const validators = new Map();

function validator(schema) {
  if (!validators.has(schema))
    validators.set(schema, ajv.compile(JSON.parse(JSON.stringify(close(schema)).replaceAll('"#/components/', '"berm#/components/'))));
  return validators.get(schema);
}

/* A template's last parameter may hold slashes if it stands for a path. */
function pattern(template) {
  const text = template.replace(/[.]/g, '\\.').replace(/\{(path|rest)\}$/, '.*').replace(/\{\w+\}/g, '[^/]+');
  return new RegExp(`^${text}$`);
}
const templates = Object.keys(document.paths).sort((a, b) => a.split('{').length - b.split('{').length)
  .map((template) => ({ template, matches: pattern(template) }));

export function findOperation(method, path) {
  const found = templates.find(({ template, matches }) => matches.test(path) && document.paths[template][method]);
  return found && document.paths[found.template][method];
}

const resolve = (node) => (node?.$ref ? node.$ref.slice(2).split('/').reduce((at, key) => at[key], document) : node);

function checkValue(schema, value, fail) {
  const validate = validator(schema);
  if (!validate(value)) fail(`${ajv.errorsText(validate.errors)}: ${JSON.stringify(value).slice(0, 500)}`);
}

function checkEvents(media, text, fail) {
  for (const block of text.split('\n\n').slice(0, 500)) {
    const name = /^event: (.*)$/m.exec(block)?.[1];
    const data = /^data: ?(.*)$/m.exec(block)?.[1];
    if (data === undefined) continue;
    const schema = name ? media['x-events']?.[name] : media['x-event'];
    if (!schema) fail(`an event ${name ?? 'without a name'}`);
    checkValue(schema, schema.contentEncoding ? data : JSON.parse(data), fail);
  }
}

/* Throws if the answer is not one that the document has for the request. */
export function checkAnswer(method, target, { status, headers, bytes, text, json }) {
  const fail = (why) => {
    throw new Error(`not as docs/openapi.json has it: ${method} ${target}, ${status}: ${why}`);
  };
  const operation = findOperation(method === 'HEAD' ? 'get' : method.toLowerCase(), target.split('?')[0]);
  if (!operation) return status >= 400 || fail('no such operation');
  const answer = resolve(operation.responses[status] ?? operation.responses[`${String(status)[0]}XX`] ?? operation.responses.default);
  if (!answer) fail('no such status');
  if (answer.content?.['*/*'] || method === 'HEAD') return true;
  if (!answer.content) return bytes.length === 0 || fail('a body');
  const type = (headers['content-type'] ?? '').split(';')[0];
  const media = answer.content[type] ?? fail(`a body of the type "${type}"`);
  if (type === 'application/json') checkValue(media.schema, json, fail);
  if (type === 'text/event-stream') checkEvents(media, text, fail);
  return true;
}
