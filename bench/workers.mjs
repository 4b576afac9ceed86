/*
 * `bench/run workers`: from a Worker's first use of a sandbox to the result of its first command, through wrangler, workerd and the
 * Docker socket; and our part of it alone, call by call, as workerd makes them. Exit status 3: a target was missed.
 */
import { performance } from 'node:perf_hooks';

import { Daemon } from '../tests/e2e/lib/daemon.mjs';
import { Docker, inside, sideConfig } from '../tests/e2e/lib/docker.mjs';
import { Wrangler } from '../tests/e2e/workers/wrangler.mjs';

const runs = Number(process.env.BENCH_RUNS ?? 20);
let missed = false;

const quantile = (times, q) => times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * q))];

function row(label, times, q = 0.5, target) {
  const value = quantile(times, q);
  const verdict = target === undefined ? '' : value <= target ? `asked ${target}: met` : `asked ${target}: MISSED`;
  if (target !== undefined && value > target) missed = true;
  console.log(`${label.padEnd(44)} min ${Math.min(...times).toFixed(1).padStart(8)}  p50 ${quantile(times, 0.5).toFixed(1).padStart(8)}  p95 ${quantile(times, 0.95).toFixed(1).padStart(8)} ms  ${verdict}`);
}

async function timed(run) {
  const from = performance.now();
  await run();
  return performance.now() - from;
}

const daemon = new Daemon({ poolSize: 30, docker: true, options: ['--sandbox-image', 'base', '--pool-slots', '32'] });
await daemon.start();
const docker = new Docker(daemon.dockerSocket);
const wrangler = await new Wrangler(docker.socketPath, daemon.top).start();

/* Workers of the same name are new sandboxes under new names. */
let serial = 0;
const first = async () => {
  const id = `bench-${++serial}`;
  const time = await timed(async () => {
    const { stdout } = await wrangler.call(id, 'exec', ['echo done']);
    if (stdout.trim() !== 'done') throw new Error(`${id} said ${stdout}`);
  });
  return { id, time };
};
const end = (list) => Promise.all(list.map(({ id }) => wrangler.call(id, 'destroy')));

async function alone(steps) {
  const name = `workerd-bench-Sandbox-${++serial}`;
  let port;
  const step = async (label, run) => {
    const time = await timed(run);
    (steps[label] ??= []).push(time);
  };
  const whole = await timed(async () => {
    await step('  GET APP/json (404)', () => docker.get(`/containers/${name}/json`));
    await step('  GET networks/bridge', () => docker.get('/networks/bridge'));
    await step('  create, start, inspect of the side', async () => {
      await docker.post(`/containers/create?name=${name}-proxy`, sideConfig);
      await docker.post(`/containers/${name}-proxy/start`);
      port = Number((await docker.get(`/containers/${name}-proxy/json`)).json.NetworkSettings.Ports['39001/tcp'][0].HostPort);
    });
    await step('  PUT egress, GET ca', async () => {
      await fetch(`http://127.0.0.1:${port}/egress`, { method: 'PUT', body: '{"port":40000,"dns":{"allowHostnames":[]},"internet":{"enabled":true}}' });
      await (await fetch(`http://127.0.0.1:${port}/ca`)).text();
    });
    await step('  create', () => docker.post(`/containers/create?name=${name}`, { Image: 'cloudflare/sandbox:0.12.10', Env: [], HostConfig: { NetworkMode: `container:${name}-proxy`, PidMode: 'host' } }));
    await step('  start', () => docker.post(`/containers/${name}/start`));
    await step('  first command', () => inside(port, 3000, 'POST', '/api/execute', { command: 'echo done' }));
  });
  for (const which of [name, `${name}-proxy`]) await docker.delete(`/containers/${which}?force=true`);
  return whole;
}

try {
  await end([await first()]); /* workerd's own first time */
  const ones = [];
  for (let i = 0; i < runs; i++) {
    const one = await first();
    ones.push(one.time);
    await end([one]);
  }
  row('create -> first exec, through the stack', ones, 0.5, 60);

  const started = performance.now();
  const staggered = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    await new Promise((resolve) => setTimeout(resolve, i * 10 - (performance.now() - started)));
    return first();
  }));
  row('20 started within 200 ms', staggered.map((one) => one.time), 0.95, 1000);
  await end(staggered);

  const crowd = await Promise.all(Array.from({ length: 25 }, first));
  row('25 at once', crowd.map((one) => one.time), 0.5, 1000);
  await end(crowd);

  const steps = {}, wholes = [];
  for (let i = 0; i < runs; i++) wholes.push(await alone(steps));
  row('our part alone, call by call', wholes);
  for (const [label, times] of Object.entries(steps)) row(label, times);
} finally {
  await wrangler.stop();
  await daemon.stop();
}
process.exit(missed ? 3 : 0);
