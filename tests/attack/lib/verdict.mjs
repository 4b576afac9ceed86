/*
 * What a run of berm-probe said, and the judgement over a pair of runs: everything must be refused inside, and outside
 * each item must be reached, or else the probe has proved nothing.
 */
import assert from 'node:assert/strict';

/* Answers of a kernel that was built without the thing or whose hardware lacks it. */
const LACKING = new Set([
  'ENOSYS', 'EAFNOSUPPORT', 'EPROTONOSUPPORT', 'ESOCKTNOSUPPORT', 'EPFNOSUPPORT', 'EOPNOTSUPP', 'ENOENT', 'ENODEV', 'ENXIO',
  'ENOTBLK', 'empty or refused',
]);

const LAYERS = {
  ENOSYS: 'seccomp',
  SIGSYS: 'seccomp (killed)',
  EAFNOSUPPORT: 'seccomp (arguments)',
  EPROTONOSUPPORT: 'seccomp (arguments)',
  ESOCKTNOSUPPORT: 'seccomp (arguments)',
  EPERM: 'seccomp, capabilities',
  EACCES: 'ownership, Landlock',
  EROFS: 'read-only mount',
  ENOENT: 'not in the sandbox',
  ESRCH: 'pid namespace',
  EAGAIN: 'pids limit',
  EMFILE: 'open files limit',
  ENFILE: 'open files limit',
  ENOMEM: 'memory limit',
  SIGKILL: 'memory limit (OOM kill inside)',
  EDQUOT: 'disk quota',
  ENOSPC: 'disk quota, size of a tmpfs',
  ENETUNREACH: 'network namespace',
  ECONNREFUSED: 'network namespace',
  EADDRNOTAVAIL: 'network namespace',
  ETOOMANYREFS: 'open files limit',
  hidden: 'namespaces',
  ignored: 'pid namespace',
};

/* {status, items: [{verdict, name, detail}], text} */
export function parse(status, text) {
  const items = [];
  for (const line of text.split('\n')) {
    const [verdict, name, detail] = line.split('\t');
    if (verdict === 'reached' || verdict === 'refused') items.push({ verdict, name, detail });
  }
  return { status, items, text };
}

const found = (run, name) => run.items.find((item) => item.name === name);
export const reachedItems = (run) => run.items.filter((item) => item.verdict === 'reached');
export const refusedItems = (run) => run.items.filter((item) => item.verdict === 'refused');

/* The layers that stopped a run's items, the most frequent first. */
function layersOf(run, own = {}) {
  const counts = new Map();
  for (const { detail } of refusedItems(run)) {
    const layer = own[detail] ?? LAYERS[detail] ?? detail;
    counts.set(layer, (counts.get(layer) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([layer]) => layer);
}

/*
 * Throws unless `inside` was refused everything and `control` reached it. `harmless`: items that may be reached inside,
 * with the reason; `unproven`: items that the control cannot reach, with the reason; `layers`: what an error means here
 * where it means something else than usual. Gives the row of the report.
 */
export function judge(id, inside, control, { harmless = {}, unproven = {}, layers } = {}) {
  assert.ok(inside.status === 0 || inside.status === 1, `${id} broke inside (${inside.status}): ${inside.text}`);
  const through = reachedItems(inside).filter((item) => !(item.name in harmless));
  assert.deepEqual(through.map((item) => `${item.name}: ${item.detail}`), [], `${id}: these got through`);

  const row = { id, items: inside.items.length, layers: layersOf(inside, layers), unproven: [] };
  if (typeof control === 'string') {
    row.unproven.push(control);
    return row;
  }
  assert.ok(control.status === 0 || control.status === 1, `${id} broke outside (${control.status}): ${control.text}`);
  const silent = [];
  for (const { name } of refusedItems(inside)) {
    const outside = found(control, name);
    if (outside?.verdict === 'reached') continue;
    if (name in unproven) row.unproven.push(`${name}: ${unproven[name]}`);
    else if (outside && LACKING.has(outside.detail)) row.unproven.push(`${name}: this host answers ${outside.detail}`);
    else silent.push(`${name}: ${outside?.detail ?? 'not tried'}`);
  }
  assert.deepEqual(silent, [], `${id}: the control run did not reach these, so the probe proves nothing about them`);
  row.proven = row.items - row.unproven.length;
  return row;
}
