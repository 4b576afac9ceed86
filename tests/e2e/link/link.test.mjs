/* A daemon behind an edge: what goes over the link, and what does not. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, describe } from 'node:test';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { serve } from './app.mjs';
import { DOMAIN, Edge, newKey } from './edge.mjs';

const skip = whyNoDaemon();

describe('a daemon behind an edge', { skip }, () => {
  let edge, daemon, api, preview, tunnel;

  const isUp = async () => (await api.get('/v1/link')).json.state === 'up';

  before(async () => {
    edge = await new Edge({ keys: { home: newKey(), away: newKey() } }).start();
    daemon = await new Daemon({ env: { BERM_SANDBOX_IMAGE: 'base' }, options: ['--sandbox-image', 'base', ...edge.daemonOptions('home')] }).start();
    api = new Api(daemon);
    await until('the link is up', isUp);
    await serve(api, 'app', 8080);
    preview = (await api.post('/v1/sandbox/app/ports', { port: 8080, token: 'abc_1' })).json.url;
    tunnel = (await api.post('/v1/sandbox/app/tunnel/8080')).json;
  });
  after(async () => {
    api.close();
    await daemon.stop();
    await edge.stop();
  });

  test('its URLs are those of the edge, and lead to the sandbox', async () => {
    assert.equal(preview, `https://8080-app-abc_1-home.${DOMAIN}/`);
    assert.match(tunnel.url, new RegExp(`^https://[a-z0-9]{26}-home\\.${DOMAIN}$`));
    assert.equal(tunnel.hostname, tunnel.url.slice(8));
    const answer = await edge.visit(`${preview}a%20b?q=1`);
    assert.equal(answer.status, 200);
    assert.equal(answer.json.path, '/a%20b?q=1');
    const fields = Object.fromEntries(answer.json.headers);
    assert.equal(fields['x-forwarded-host'], `8080-app-abc_1-home.${DOMAIN}`);
    assert.equal(fields['x-forwarded-proto'], 'https');
    assert.equal(fields['x-forwarded-for'], '127.0.0.1');
    assert.equal((await edge.visit(`${tunnel.url}/`)).status, 200);
  });
});
