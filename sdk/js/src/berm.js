/* A daemon: what is not about one sandbox. */
import { Connection } from './http.js';
import { getSandbox } from './sandbox.js';

export class Berm extends Connection {
  /* A sandbox of this daemon; see getSandbox(). */
  sandbox(id, options) {
    return getSandbox(this, id, options);
  }

  /* A fresh id; nothing is made. */
  async newId() {
    return (await this.json('createId')).id;
  }

  /* One page: {sandboxes, cursor}. `labels`: all must match; null asks for the name alone. */
  listSandboxes({ labels = {}, state, name, limit, cursor } = {}) {
    const query = new URLSearchParams();
    for (const [label, value] of Object.entries(labels)) query.append('label', value === null ? label : `${label}=${value}`);
    for (const [key, value] of Object.entries({ state, name, limit, cursor })) if (value !== undefined) query.set(key, value);
    return this.json('listSandboxes', {}, { query });
  }

  /* All of them, page after page. */
  async *sandboxes(options) {
    let cursor;
    do {
      const page = await this.listSandboxes({ ...options, cursor });
      yield* page.sandboxes;
      cursor = page.cursor ?? undefined;
    } while (cursor);
  }

  /* A stream of what happens to all sandboxes from now on. */
  followEvents({ signal } = {}) {
    return this.stream('allEvents', {}, { headers: { accept: 'text/event-stream' }, signal });
  }

  async health() {
    return this.json('health');
  }

  host() {
    return this.json('host');
  }

  async images() {
    return (await this.json('listImages')).images;
  }

  async keys() {
    return (await this.json('listKeys')).keys;
  }

  createKey({ label } = {}) {
    return this.json('createKey', {}, { json: { label } });
  }

  async deleteKey(id) {
    await this.request('deleteKey', { key: id });
  }

  /* What policies put into requests as `credentials`; no call shows a value again. */
  async secrets() {
    return (await this.json('listSecrets')).secrets;
  }

  setSecret(name, value) {
    return this.json('putSecret', { name }, { json: { value } });
  }

  async deleteSecret(name) {
    await this.request('deleteSecret', { name });
  }

  link() {
    return this.json('link');
  }

  poolStats() {
    return this.json('poolStats');
  }

  async primePool() {
    await this.json('primePool');
  }

  async shutdownPrewarmed() {
    await this.json('shutdownPool');
  }

  /* The daemon's description of its API. */
  openapi() {
    return this.json('openapi');
  }

  /* Prometheus text. */
  async metrics() {
    return (await this.request('metrics')).text();
  }
}
