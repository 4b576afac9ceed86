/*
 * The published SDK in Node: its Durable Object class `Sandbox` with a stand-in for the Workers runtime, so that all
 * that a customer's Worker would send reaches a control server of ours. Nothing of the SDK is changed or replaced.
 *
 *   const sdk = await Sdk.open({ origin: agent.url }, { transport: 'websocket' });
 *   await sdk.sandbox.exec('echo hi');   // the object that getSandbox() gives a Worker
 *   await sdk.close();
 */
import { register } from 'node:module';

import { installGlobals } from './globals.mjs';

register('./hooks.mjs', import.meta.url);
installGlobals();
process.env.SANDBOX_LOG_LEVEL ??= 'error';

export const sdk = await import('@cloudflare/sandbox');
const { Container } = await import('./container.mjs');

// Storage of one object, in memory. Values are copied, as a real one would.
class Storage {
  #values = new Map();
  kv = { get: (key) => this.#read(key), put: (key, value) => this.#write(key, value), delete: (key) => this.#values.delete(key) };
  sql = { exec: () => [] };

  #read(key) {
    const value = this.#values.get(key);
    return value === undefined ? undefined : structuredClone(value);
  }

  #write(key, value) {
    this.#values.set(key, structuredClone(value));
  }

  async get(key) {
    if (!Array.isArray(key)) return this.#read(key);
    return new Map(key.filter((k) => this.#values.has(k)).map((k) => [k, this.#read(k)]));
  }

  async put(key, value) {
    if (typeof key === 'string') this.#write(key, value);
    else for (const [k, v] of Object.entries(key)) this.#write(k, v);
  }

  async delete(key) {
    return [key].flat().map((k) => this.#values.delete(k)).some(Boolean);
  }

  async list({ prefix = '' } = {}) {
    return new Map([...this.#values.keys()].filter((k) => k.startsWith(prefix)).sort().map((k) => [k, this.#read(k)]));
  }

  transaction(run) {
    return run(this);
  }

  async sync() {}
  async getAlarm() { return null; }
  async setAlarm() {}
  async deleteAlarm() {}
}

export class Sdk {
  // `target`: see container.mjs. Options: transport (http, websocket, rpc), name, env (of the Worker), getSandbox's own.
  static async open(target, { transport = 'http', name = 'demo', env = {}, ...options } = {}) {
    const opened = new Sdk();
    const ready = [];
    const id = { name, toString: () => `id-of-${name}`, equals: (other) => other === id };
    opened.container = new Container(target);
    opened.object = new sdk.Sandbox({
      id, storage: new Storage(), container: opened.container, props: {}, exports: {},
      blockConcurrencyWhile: (run) => { const done = run(); ready.push(done); return done; },
      waitUntil: () => {},
      abort: () => {},
    }, { SANDBOX_TRANSPORT: transport, ...env });
    await Promise.all(ready);
    opened.container.start(); // what it leads to is running
    await opened.object.setSandboxName(name, options.normalizeId);
    opened.sandbox = sdk.getSandbox({ idFromName: () => id, get: () => opened.object }, name, options);
    return opened;
  }

  // What a Worker gets for a terminal's upgrade request: a Workers socket, accepted.
  async terminal(sessionId, options) {
    const request = new Request('http://worker/terminal', { headers: { Upgrade: 'websocket', Connection: 'Upgrade' } });
    const from = sessionId ? await this.sandbox.getSession(sessionId) : this.sandbox;
    const response = await from.terminal(request, options);
    if (response.status !== 101) throw new Error(`terminal: ${response.status} ${await response.text()}`);
    return response.webSocket;
  }

  // Closes what the object has open; the control server stays.
  async close() {
    this.object.client.disconnect();
    await this.container.destroy();
  }
}
