/* E4 in a browser: what a page of one sandbox's preview gets of another one's, and of the daemon itself. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Browser, whyNoBrowser } from '../console/browser.mjs';
import { Api } from '../lib/api.mjs';
import { Daemon, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const skip = whyNoDaemon() ?? (fs.existsSync(path.join(imagesDir, 'names', 'base')) ? whyNoBrowser() : 'needs the image base');

/* A site that says who it is, sets a cookie for as many as it can, and has a worker which would answer for all that it may. */
const SITE = `
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        worker = self.path.endswith('/worker.js')
        body = b"self.onfetch = (e) => e.respondWith(new Response('from the worker'))" if worker else b'<title>site</title>secret of ' + sys.argv[1].encode()
        self.send_response(200)
        self.send_header('Content-Type', 'text/javascript' if worker else 'text/html')
        self.send_header('Set-Cookie', 'who=%s; Domain=localhost; Path=/' % sys.argv[1])
        self.send_header('Service-Worker-Allowed', '/')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8080), H).serve_forever()
`;

describe('pages of two sandboxes in one browser', { skip }, () => {
  let daemon, api, browser, page;
  const urls = {}, paths = {};

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    for (const id of ['mine', 'other']) {
      await api.put(`/v1/sandbox/${id}/file/workspace/site.py`, SITE);
      await api.exec(id, `nohup python3 site.py ${id} >/dev/null 2>&1 &`);
      await until('it listens', async () => (await api.exec(id, 'curl -s http://127.0.0.1:8080/')).out.includes(`secret of ${id}`));
      urls[id] = (await api.post(`/v1/sandbox/${id}/ports`, { port: 8080, token: `tok_${id}` })).json.url;
      paths[id] = `http://localhost:${daemon.port}/preview/${id}/8080/tok_${id}/`;
    }
    browser = await Browser.open();
    page = browser.page;
  });
  after(async () => {
    await browser?.close();
    api.close();
    await daemon.stop();
  });

  /* What a script in the page that is open gets of `url`. */
  const reach = (url) => page.evaluate(async (at) => {
    const frame = document.createElement('iframe');
    frame.src = at;
    await new Promise((resolve) => { frame.onload = resolve; document.body.append(frame); });
    let inside;
    try {
      inside = frame.contentWindow.document.body.textContent;
    } catch (error) {
      inside = error.name;
    }
    return { inside, fetched: await fetch(at, { credentials: 'include' }).then((answer) => answer.text(), (error) => error.name) };
  }, url);

  test('each has an origin of its own: it reads itself and nobody else', async () => {
    await page.goto(urls.mine);
    assert.deepEqual(await reach(urls.mine), { inside: 'secret of mine', fetched: '<title>site</title>secret of mine' });
    for (const url of [urls.other, paths.other, `http://localhost:${daemon.port}/health`, `http://127.0.0.1:${daemon.port}/v1/sandboxes`])
      assert.deepEqual(await reach(url), { inside: 'SecurityError', fetched: 'TypeError' }, url);
  });

  test('cookies and storage of one are not those of another', async () => {
    await page.goto(urls.other);
    await page.evaluate(() => { localStorage.kept = 'other'; document.cookie = 'wide=1; domain=localhost'; });
    assert.equal(await page.evaluate(() => document.cookie.includes('who=other')), true);
    await page.goto(urls.mine);
    assert.deepEqual(await page.evaluate(() => [document.cookie, localStorage.kept ?? null]), ['who=mine', null]);
  });

  test('a service worker answers for its own origin only, and below a path there is none', async () => {
    await page.goto(urls.mine);
    await page.evaluate(async () => {
      await navigator.serviceWorker.register('worker.js', { scope: '/' });
      await navigator.serviceWorker.ready;
    });
    await page.goto(urls.mine);
    assert.equal(await page.evaluate(() => document.body.textContent), 'from the worker', 'it does work');
    await page.goto(urls.other);
    assert.equal(await page.evaluate(() => document.body.textContent), 'secret of other');
    await page.goto(paths.mine);
    assert.deepEqual(await page.evaluate(async () => {
      const refused = await Promise.resolve().then(() => navigator.serviceWorker.register('worker.js', { scope: '/' })).then(() => 'registered', (error) => error.name);
      let storage;
      try {
        storage = typeof localStorage;
      } catch (error) {
        storage = error.name;
      }
      return [self.origin, refused, storage];
    }), ['null', 'SecurityError', 'SecurityError']);
  });
});
