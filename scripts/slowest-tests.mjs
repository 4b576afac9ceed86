/* A reporter for node:test that says at the end in which files and tests the time went. */
import path from 'node:path';

const FILES = 20;

const seconds = (ms) => `${(ms / 1000).toFixed(1).padStart(7)} s`;

export default async function* slowest(events) {
  const files = new Map(); /* name → { ms, slowest: { name, ms } } */
  for await (const { type, data } of events) {
    if ((type !== 'test:pass' && type !== 'test:fail') || data.nesting !== 0 || !data.file) continue;
    const name = path.relative('.', data.file);
    const ms = data.details.duration_ms;
    const file = files.get(name) ?? { ms: 0, slowest: { ms: 0 } };
    files.set(name, { ms: file.ms + ms, slowest: ms > file.slowest.ms ? { name: data.name, ms } : file.slowest });
  }
  const sorted = [...files].sort(([, a], [, b]) => b.ms - a.ms).slice(0, FILES);
  if (sorted.length < 2) return;
  yield `\nthe slowest of ${files.size} files (and in each the slowest test)\n`;
  for (const [name, { ms, slowest }] of sorted) yield `${seconds(ms)} ${name} (${seconds(slowest.ms).trim()}: ${slowest.name})\n`;
}
