/* Outgoing HTTPS of a sandbox that the Worker handles: the published SDK's outbound handlers, on the published wrangler. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test as plain } from 'node:test';

import { Daemon, imagesDir, whyNoDaemon } from '../lib/daemon.mjs';
import { Docker } from '../lib/docker.mjs';
import { Wrangler, whyNoWrangler } from './wrangler.mjs';

const test = (name, run) => plain(name, { timeout: 240000 }, run);
const why = whyNoDaemon() ?? whyNoWrangler() ?? (fs.existsSync(path.join(imagesDir, 'names/base')) ? undefined : 'no image base');
const project = path.join(path.dirname(fileURLToPath(import.meta.url)), 'outbound');

describe('HTTPS of a sandbox that a Worker handles', { skip: why }, () => {
  let daemon;
  let docker;
  let wrangler;

  before(async () => {
    daemon = new Daemon({ poolSize: 1, docker: true, options: ['--sandbox-image', 'base'] });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
    wrangler = await new Wrangler(docker.socketPath, daemon.top, project).start();
  }, { timeout: 240000 });
  after(async () => {
    await wrangler?.stop();
    await daemon.stop();
  });

  const call = (method, ...args) => wrangler.call('outbound', method, args);
  const sh = async (script) => {
    const result = await call('exec', script);
    assert.equal(result.exitCode, 0, result.stderr);
    return result.stdout;
  };

  test('the container trusts the authority that /ca shows', async () => {
    assert.equal((await sh('echo $SANDBOX_INTERCEPT_HTTPS')).trim(), '1');
    const inside = await sh('cat /etc/cloudflare/certs/cloudflare-containers-ca.crt');
    const side = (await docker.get('/containers/json?all=1')).json.find(({ Names: [name] }) => name.endsWith('-proxy'));
    const { NetworkSettings: { Ports } } = (await docker.get(`/containers/${side.Id}/json`)).json;
    const shown = await (await fetch(`http://127.0.0.1:${Ports['39001/tcp'][0].HostPort}/ca`)).text();
    assert.equal(inside.trim(), shown.trim());
  });

  test('its handler gets the requests of every client, decrypted, with their bodies', async () => {
    const clients = {
      curl: 'curl -sS -m 100 https://api.internal/path?q=1',
      node: `node -e "fetch('https://api.internal/path?q=1').then((r) => r.text()).then(console.log)"`,
      python: `python3 -c "import urllib.request; print(urllib.request.urlopen('https://api.internal/path?q=1', timeout=100).read().decode())"`,
      wget: 'wget -q -T 100 -O - https://api.internal/path?q=1',
    };
    for (const [name, command] of Object.entries(clients)) {
      const { by, method, url } = JSON.parse(await sh(command));
      assert.deepEqual([by, method, url], ['host', 'GET', 'https://api.internal/path?q=1'], name);
    }
    assert.equal(JSON.parse(await sh('head -c 300000 /dev/zero | curl -sS -m 100 -X POST --data-binary @- https://api.internal/up')).size, 300000);
    assert.equal(JSON.parse(await sh('curl -sS -m 100 http://api.internal/plain')).url, 'http://api.internal/plain');
  });

  test('handlers chosen at run time take hosts, and a denied host is refused by the Worker', async () => {
    await call('setOutboundByHost', 'late.internal', 'named', { tag: 7 });
    const { by, url, params } = JSON.parse(await sh('curl -sS -m 100 https://late.internal/x'));
    assert.deepEqual([by, url, params], ['name', 'https://late.internal/x', { tag: 7 }]);
    await call('setOutboundByHost', 'late.internal', 'large');
    assert.equal((await sh('curl -sS -m 100 https://late.internal/ | wc -c')).trim(), '5000000');
    await call('denyHost', 'late.internal');
    assert.match(await sh('curl -sS -m 100 -w "%{http_code}" https://late.internal/'), /Origin is disallowed520/);
  });

  test('what no handler is for is not reached', async () => {
    const result = await call('exec', 'curl -sS -m 100 -w "%{http_code}" https://elsewhere.internal/');
    assert.ok(result.exitCode !== 0 || /520$/.test(result.stdout), result.stdout);
  });
});
