/* What the tests of the way out do with sandboxes. `api`: a function, as another daemon may come. */
import assert from 'node:assert/strict';

import { until } from '../lib/daemon.mjs';

export const sh = (script) => ['bash', '-c', script];
/* What hangs is ended by itself, but not before the daemon on a slow machine gets to it. */
export const curl = (...args) => ['curl', '-sS', '-m', '60', ...args];

export function inside(api) {
  const exec = (id, argv) => api().exec(id, argv);
  return {
    async sandbox(settings = {}) {
      const id = await api().newId();
      const response = await api().put(`/v1/sandbox/${id}`, JSON.stringify({ image: 'base', ...settings }));
      assert.equal(response.status, 201, response.text);
      return id;
    },
    egress: async (id) => (await api().get(`/v1/sandbox/${id}/egress`)).json,
    async setPolicy(id, policy) {
      const response = await api().put(`/v1/sandbox/${id}/egress`, JSON.stringify(policy));
      assert.equal(response.status, 200, response.text);
    },
    async out(id, argv) {
      const result = await exec(id, argv);
      assert.equal(result.code, 0, result.err);
      return result.out;
    },
    async fails(id, argv) {
      const result = await exec(id, argv);
      assert.notEqual(result.code, 0, result.out);
      return result.err;
    },
    /*
     * Opens TLS to `host` in the background and says `bytes`, a Python literal; the answer is a function that waits for
     * the end of it and tells what came: the repr of bytes, or the name of an error.
     */
    async hold(id, host, bytes) {
      const done = await exec(id, sh(`rm -f /tmp/open /tmp/result; nohup python3 -c "
import os, socket, ssl
c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
s = c.wrap_socket(socket.create_connection(('${host}', 443), 60), server_hostname='${host}')
s.sendall(${bytes})
open('/tmp/open', 'w').close()
s.settimeout(100)
try: text = repr(s.recv(99))
except OSError as e: text = type(e).__name__
open('/tmp/result.new', 'w').write(text); os.rename('/tmp/result.new', '/tmp/result')
" >/dev/null 2>&1 & `));
      assert.equal(done.code, 0, done.err);
      await until('it is open', async () => (await exec(id, ['test', '-e', '/tmp/open'])).code === 0);
      return async () => {
        await until('it has seen the end', async () => (await exec(id, ['test', '-e', '/tmp/result'])).code === 0);
        return (await exec(id, ['cat', '/tmp/result'])).out;
      };
    },
  };
}
