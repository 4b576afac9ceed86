/*
 * A daemon of a few lines that answers what a test tells it to: for the answers that a real one never gives.
 */
import http from 'node:http';
import { once } from 'node:events';

export const event = (name, data) => `event: ${name}\ndata: ${data}\n\n`;
export const output = (text, name = 'stdout') => event(name, Buffer.from(text).toString('base64'));
export const exit = (code) => event('exit', JSON.stringify({ exit_code: code }));

/* Starts a server whose requests go to `handler(request, response)` after being noted in `requests`. */
export async function startMock(handler) {
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push({ method: request.method, url: request.url, headers: request.headers });
    handler(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/* Answers everything but exec as a daemon with one sandbox "mock" would. */
export function withExec(exec) {
  return (request, response) => {
    const path = new URL(request.url, 'http://x').pathname;
    if (path.endsWith('/exec') && request.method === 'POST') return exec(request, response);
    request.resume();
    request.on('end', () => {
      if (request.method === 'POST' && path === '/v1/sandbox') return json(response, 200, { id: 'mock' });
      if (request.method === 'PUT') return json(response, 201, { id: 'mock', state: 'running' });
      if (request.method === 'DELETE') return response.writeHead(204).end();
      return json(response, 404, { error: 'no such sandbox', code: 'sandbox_not_found', context: {} });
    });
    return undefined;
  };
}

export function json(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

/* The head of a stream; the connection stays open. */
export function stream(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  return response;
}

/* A mock for the time of `work(mock, env)`. */
export async function withMock(handler, work) {
  const mock = await startMock(handler);
  try {
    return await work(mock, { BERM_URL: mock.url });
  } finally {
    await mock.close();
  }
}

/* The same with a sandbox whose exec is `exec`. */
export const execWith = (exec, work) => withMock(withExec(exec), work);
