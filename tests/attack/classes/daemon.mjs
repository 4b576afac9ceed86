/* X: a taken-over bermd gains nothing by being bermd. */
import assert from 'node:assert/strict';
import { imagesDir } from '../../e2e/lib/daemon.mjs';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { run } from '../lib/control.mjs';
import { status } from '../lib/host.mjs';
import * as report from '../lib/report.mjs';
import { judge, parse } from '../lib/verdict.mjs';

const REQUEST_CHECK = { EINVAL: 'request check', ERANGE: 'request check', EPROTO: 'request check', EOPNOTSUPP: 'request check', ENOENT: 'request check' };
const NO_CAPABILITY = '0'.repeat(16);

export function registerDaemon(world) {
  test('X-wire: what a taken-over bermd may say to the spawner is refused, and nothing it sends does harm', async () => {
    const data = path.join(world.scratch, 'wire');
    const uid = status(world.daemonPid).Uid[0];
    const { status: code, text, errors } = await run(world.probePath, ['X-wire', world.spawnPath, data, imagesDir, world.agentPath, uid]);
    report.add(judge('X-wire', parse(code, text + errors), 'judged by the answers', { layers: REQUEST_CHECK }));
    fs.rmSync(data, { recursive: true });
  });

  test('X: bermd runs as nobody, without a capability, and cannot gain any', () => {
    const self = status(world.daemonPid);
    for (const id of [...self.Uid, ...self.Gid]) assert.notEqual(id, '0');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.equal(self[set][0], NO_CAPABILITY, set);
    assert.equal(self.NoNewPrivs[0], '1');
    assert.deepEqual(self.Groups.filter((group) => group !== '' && group !== self.Gid[0]), []);
    report.add({ id: 'X-daemon-status', items: 5, layers: ['uid, capabilities, no_new_privs'] });
  });

  test("X-daemon-user: with bermd's rights nothing of the host or of a sandbox can be reached", async () => {
    const sandbox = await world.shared();
    const secret = path.join(world.scratch, 'root-only');
    fs.writeFileSync(secret, 'secret', { mode: 0o600 });
    const args = ['X-daemon-user', String(sandbox.hostPid), world.disk, path.join(world.data, 'disk.btrfs'), secret];
    const self = status(world.daemonPid);
    const asDaemon = ['--reuid', self.Uid[0], '--regid', self.Gid[0], '--clear-groups', '--inh-caps=-all', '--bounding-set=-all',
      '--no-new-privs', world.probePath, ...args];
    const inside = await run('setpriv', asDaemon);
    const outside = await run('unshare', ['--mount', '--propagation', 'private', world.probePath, ...args]);
    report.add(judge('X-daemon-user', parse(inside.status, inside.text + inside.errors), parse(outside.status, outside.text)));
  });
}
