/* A driver that is a program of its own: [op, id, args] goes in as a line of JSON, {result} or {error, code} comes out. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export function program(command, args, names, options = {}) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const call = async (op, id, values) => {
    child.stdin.write(`${JSON.stringify([op, id, values])}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error(`${command} ended`);
    const answer = JSON.parse(value);
    if ('error' in answer) throw Object.assign(new Error(answer.error), { code: answer.code });
    return answer.result;
  };
  const close = async () => {
    child.stdin.end();
    const [status, signal] = await once(child, 'exit');
    if (status !== 0) throw new Error(`${command} ended with ${status ?? signal}`);
  };
  return { ops: Object.fromEntries(names.map((op) => [op, (id, values) => call(op, id, values)])), close };
}
