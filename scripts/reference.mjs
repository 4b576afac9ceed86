/*
 * Writes docs/reference.md from docs/openapi.json, to standard output: scripts/node scripts/reference.mjs >docs/reference.md
 * A test holds the file in the tree against it.
 */
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), '..');
const document = JSON.parse(fs.readFileSync(path.join(root, 'docs/openapi.json'), 'utf8'));
const methods = ['get', 'put', 'post', 'delete', 'patch', 'head'];

const resolve = (value) => (value?.$ref ? value.$ref.slice(2).split('/').reduce((at, name) => at[name], document) : value);
const nameOf = (ref) => ref.split('/').at(-1);
const cell = (text) => (text ?? '').replaceAll('|', '\\|').replaceAll('\n', ' ');
const anchor = (name) => `[${name}](#${name.toLowerCase()})`;

function typeOf(schema) {
  if (!schema || Object.keys(schema).length === 0) return 'anything';
  if (schema === true) return 'anything';
  if (schema.$ref) return anchor(nameOf(schema.$ref));
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(', ');
  const many = schema.oneOf ?? schema.anyOf;
  if (many) return [...new Set(many.map(typeOf))].join(' or ');
  if (schema.allOf) return schema.allOf.map(typeOf).join(' and ');
  const types = [schema.type ?? (schema.properties ? 'object' : 'anything')].flat();
  return types.map((type) => (type === 'array' ? `array of ${typeOf(schema.items)}` : type)).join(' or ');
}

function bounds(schema) {
  const parts = [];
  if (schema.minimum !== undefined) parts.push(`≥ ${schema.minimum}`);
  if (schema.maximum !== undefined) parts.push(`≤ ${schema.maximum}`);
  if (schema.maxLength !== undefined) parts.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) parts.push(`at most ${schema.maxItems}`);
  if (schema.pattern) parts.push(`\`${schema.pattern}\``);
  if (schema.default !== undefined) parts.push(`default \`${JSON.stringify(schema.default)}\``);
  return parts.join('; ');
}

function members(schema) {
  const properties = Object.entries(schema.properties ?? {});
  if (properties.length === 0) return '';
  const rows = properties.map(([name, given]) => {
    const about = [given.description, bounds(given)].filter(Boolean).join(' ');
    return `| \`${name}\`${schema.required?.includes(name) ? '' : ', optional'} | ${cell(typeOf(given))} | ${cell(about)} |`;
  });
  return `| member | type | |\n| --- | --- | --- |\n${rows.join('\n')}\n`;
}

/* An object without a name of its own is written out; everything else is named. */
function content(where) {
  return Object.entries(where.content ?? {}).map(([type, { schema }]) => {
    const table = schema && !schema.$ref ? members(schema) : '';
    return { line: `\`${type}\`${schema && !table ? `: ${typeOf(schema)}` : ''}`, table };
  });
}

function operation(method, route, item, about) {
  const parameters = [...(item.parameters ?? []), ...(about.parameters ?? [])].map(resolve);
  const out = [`### ${method.toUpperCase()} \`${route}\``, '', `${about.summary}.`.replace(/\.\.$/, '.')];
  if (about.description) out.push('', about.description);
  if (about.security?.length === 0) out.push('', 'Needs no key.');
  if (parameters.length) {
    out.push('', '| parameter | in | type | |', '| --- | --- | --- | --- |');
    for (const one of parameters)
      out.push(`| \`${one.name}\`${one.required ? '' : ', optional'} | ${one.in} | ${cell(typeOf(one.schema))} | ${cell([one.description, bounds(resolve(one.schema) ?? {})].filter(Boolean).join(' '))} |`);
  }
  const body = resolve(about.requestBody);
  if (body) for (const { line, table } of content(body)) out.push('', `**Body**${body.required ? '' : ', optional'}: ${line}`, ...(table ? ['', table.trimEnd()] : []));
  out.push('', '| status | answer |', '| --- | --- |');
  const tables = [];
  for (const [status, given] of Object.entries(about.responses)) {
    const answer = resolve(given);
    const parts = content(answer);
    out.push(`| ${status} | ${cell([answer.description, ...parts.map(({ line }) => line)].filter(Boolean).join(' '))} |`);
    for (const { table } of parts) if (table) tables.push('', `Members of ${status}:`, '', table.trimEnd());
  }
  return [...out, ...tables, ''].join('\n');
}

const out = [
  '# API reference',
  '',
  'Written by `scripts/reference.mjs` from `docs/openapi.json`, which the daemon serves at `/v1/openapi.json` and every answer of the',
  'test suite is held against. [api.md](api.md) explains what is common to all routes.',
  '',
];
for (const tag of document.tags) {
  const parts = Object.entries(document.paths).flatMap(([route, item]) =>
    methods.filter((method) => item[method]?.tags?.[0] === tag.name).map((method) => operation(method, route, item, item[method])));
  if (parts.length) out.push(`## ${tag.name}`, '', tag.description, '', ...parts);
}
out.push('## Shapes', '');
for (const [name, schema] of Object.entries(document.components.schemas))
  out.push(`### ${name}`, '', ...(schema.description ? [schema.description, ''] : []), members(schema) || `${typeOf(schema)}\n`);
process.stdout.write(`${out.join('\n').trimEnd()}\n`);
