/* The Docker Engine API over its unix socket, byte by byte as workerd speaks it: one connection per request. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

import { collect } from './api.mjs';
import { until } from './daemon.mjs';

export class Docker {
  constructor(socketPath) {
    this.socketPath = socketPath;
  }

  open(method, path, headers = {}) {
    const request = http.request({ socketPath: this.socketPath, method, path, agent: false, headers: { host: 'localhost', ...headers } });
    request.on('error', () => {});
    return request;
  }

  /* `body`: an object is sent as JSON; a Buffer as it is. Without one, POST and DELETE send an empty chunked body. */
  async call(method, path, body) {
    const request = this.open(method, path, body === undefined && method !== 'GET' ? { 'transfer-encoding': 'chunked' } : {});
    const failed = new Promise((_, reject) => request.once('error', reject));
    request.end(body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body));
    const [response] = await Promise.race([once(request, 'response'), failed]);
    return collect(response);
  }

  /* POST /wait: resolves when it has begun, with {ended}, a promise of the status code. */
  async wait(name, query = '') {
    const request = this.open('POST', `/containers/${name}/wait${query}`, { 'transfer-encoding': 'chunked' });
    const failed = new Promise((_, reject) => request.once('error', reject));
    request.end();
    const [response] = await Promise.race([once(request, 'response'), failed]);
    return { ended: collect(response).then((answer) => answer.json.StatusCode) };
  }

  get(path) {
    return this.call('GET', path);
  }

  post(path, body) {
    return this.call('POST', path, body);
  }

  delete(path) {
    return this.call('DELETE', path);
  }

  /* A side container and one in its network, started: {name, side, port}, `port` being the side's. */
  async pair(name, options = {}) {
    const side = `${name}-proxy`;
    const made = await this.post(`/containers/create?name=${side}`, sideConfig);
    if (made.status !== 201) throw new Error(made.text);
    await this.post(`/containers/${side}/start`);
    const port = Number((await this.get(`/containers/${side}/json`)).json.NetworkSettings.Ports['39001/tcp'][0].HostPort);
    const created = await this.post(`/containers/create?name=${name}`, {
      Image: 'cloudflare/sandbox:0.12.10', Env: [], ...options,
      HostConfig: { NetworkMode: `container:${side}`, RestartPolicy: { Name: 'on-failure' }, PidMode: 'host', ...options.HostConfig },
    });
    if (created.status !== 201) throw new Error(created.text);
    const started = await this.post(`/containers/${name}/start`);
    if (started.status !== 204) throw new Error(started.text);
    return { name, side, port, id: created.json.Id };
  }
}

/* The containers of one test, which go with removeAll(). */
export class Containers {
  #docker;
  #names = [];
  #prefix;

  constructor(docker, prefix) {
    this.#docker = docker;
    this.#prefix = prefix;
  }

  /* {container, answer}, whatever the answer is */
  async create(config) {
    const container = `${this.#prefix}${this.#names.length}`;
    this.#names.push(container);
    return { container, answer: await this.#docker.post(`/containers/create?name=${container}`, { Image: 'cloudflare/sandbox:1', ...config }) };
  }

  async created(config) {
    const { container, answer } = await this.create(config);
    assert.equal(answer.status, 201, answer.text);
    return container;
  }

  async started(config) {
    const container = await this.created(config);
    const answer = await this.#docker.post(`/containers/${container}/start`);
    assert.equal(answer.status, 204, answer.text);
    return container;
  }

  /* Runs a shell command at a terminal: {code, text}. */
  async run(container, script) {
    const exec = await this.#docker.post(`/containers/${container}/exec`, { Cmd: ['sh', '-c', script], AttachStdout: true, AttachStderr: true, Tty: true });
    assert.equal(exec.status, 201, exec.text);
    const answer = await this.#docker.post(`/exec/${exec.json.Id}/start`, { Detach: false, Tty: true });
    const code = await until('the command ends', async () => {
      const shown = (await this.#docker.get(`/exec/${exec.json.Id}/json`)).json;
      return shown.Running ? undefined : { value: shown.ExitCode };
    });
    return { code: code.value, text: answer.text.replaceAll('\r', '').trim() };
  }

  /* One that was made otherwise. */
  add(container) {
    this.#names.push(container);
  }

  async removeAll() {
    for (const container of this.#names) await this.#docker.delete(`/containers/${container}?force=1`);
  }
}

export const sideConfig = {
  Image: 'cloudflare/proxy-everything:3cb1195@sha256:0ef6716c52430096900b150d84a3302057d6cd2319dae7987128c85d0733e3c8',
  Cmd: ['--http-egress-port', '40000', '--http-ingress-address', '0.0.0.0:39001', '--docker-gateway-cidr', '127.0.0.0/8',
    '--dns-enabled', '--tls-intercept', '--disable-ipv6'],
  ExposedPorts: { '39001/tcp': {} },
  HostConfig: { NetworkMode: 'bridge', PublishAllPorts: true, CapAdd: ['NET_ADMIN'], Dns: ['1.1.1.1'], ExtraHosts: ['host.docker.internal:host-gateway'] },
};

/* CONNECT 127.0.0.1:target by way of a side container: {status, socket, text}; `text` is what came with a refusal. */
export async function connectThrough(port, target, early = '') {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(`CONNECT ${target} HTTP/1.1\r\nX-Dst-Addr: ${target}\r\n\r\n${early}`);
  let bytes = Buffer.alloc(0);
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, piece]);
    if (bytes.includes('\r\n\r\n')) break;
  }
  const end = bytes.indexOf('\r\n\r\n') + 4;
  socket.unshift(bytes.subarray(end));
  return { status: Number(bytes.toString('latin1', 9, 12)), socket, text: bytes.toString('latin1', end) };
}

/* One HTTP request to a port inside, over a tunnel of its own. */
export async function inside(port, target, method, path, body) {
  const { status, socket, text } = await connectThrough(port, `127.0.0.1:${target}`);
  if (status !== 200) throw new Error(`CONNECT was answered ${status}: ${text}`);
  const request = http.request({ createConnection: () => socket, method, path, headers: body ? { 'content-type': 'application/json' } : {} });
  request.end(body && JSON.stringify(body));
  const [response] = await once(request, 'response');
  const answer = await collect(response);
  socket.destroy();
  return answer;
}

export async function run(port, command) {
  return (await inside(port, 3000, 'POST', '/api/execute', { command })).json;
}
