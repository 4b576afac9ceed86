/* The list by the Python SDK, in a process of its own: `kind` is asyncio or blocking. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { opNames } from '../list.mjs';

export function python(url, kind) {
  const script = fileURLToPath(new URL('python.py', import.meta.url));
  const child = spawn('python3', [script, kind, url], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const call = async (op, id, args) => {
    child.stdin.write(`${JSON.stringify([op, id, args])}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error('the Python driver ended');
    const answer = JSON.parse(value);
    if ('error' in answer) throw Object.assign(new Error(answer.error), { code: answer.code });
    return answer.result;
  };
  const close = async () => {
    child.stdin.end();
    await once(child, 'exit');
  };
  const ops = Object.fromEntries(opNames.map((op) => [op, (id, args) => call(op, id, args)]));
  return { name: `Python (${kind})`, ops, absent: {}, close };
}
