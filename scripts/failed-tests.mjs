/* A reporter for node:test that writes a line for each test that failed: where it is, its name, what it said first. */
import path from 'node:path';

export default async function* failed(events) {
  for await (const { type, data } of events) {
    if (type !== 'test:fail' || data.details.error?.failureType === 'subtestsFailed') continue;
    const said = String(data.details.error?.cause?.message ?? data.details.error?.message ?? data.details.error).split('\n', 1)[0];
    yield `${path.relative('.', data.file ?? '')}:${data.line ?? ''} ${data.name}: ${said}\n`;
  }
}
