// The published SDK against an agent in a real sandbox, through the daemon: everything a Worker would do passes the
// walls, the daemon's checks and its relay.
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { Sdk, sdk as published } from './lib/sandbox.mjs';

describe('the SDK in a real sandbox', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  for (const transport of ['http', 'websocket']) {
    test(`commands, files, streams and a terminal over ${transport}`, async () => {
      const prefix = `/v1/sandbox/${await api.newId()}/container`;
      const sdk = await Sdk.open({ origin: `http://127.0.0.1:${daemon.port}`, prefix }, { transport });
      assert.equal((await sdk.sandbox.exec('cd /tmp; pwd')).stdout, '/tmp');
      assert.equal((await sdk.sandbox.exec('pwd')).stdout, '/tmp');
      await sdk.sandbox.writeFile('/workspace/a.txt', 'written');
      assert.equal((await sdk.sandbox.readFile('/workspace/a.txt')).content, 'written');
      const types = [];
      for await (const event of published.parseSSEStream(await sdk.sandbox.execStream('echo a'))) types.push(event.type);
      assert.deepEqual(types, ['start', 'stdout', 'complete']);

      const socket = await sdk.terminal();
      const messages = [];
      let output = '';
      socket.addEventListener('message', ({ data }) => {
        if (typeof data === 'string') messages.push(JSON.parse(data));
        else output += Buffer.from(data).toString();
      });
      socket.accept();
      await until('ready', () => messages.some((m) => m.type === 'ready'));
      socket.send(Buffer.from('echo in-$((1 + 1))-$PWD; tty\r'));
      await until('the output', () => /in-2-\/tmp\r\n\/dev\/pts\/\d+\r\n/.test(output));
      socket.send(Buffer.from('exit 6\r'));
      await until('the exit', () => messages.some((m) => m.type === 'exit'));
      assert.deepEqual(messages.at(-1), { type: 'exit', code: 6 });
      await sdk.close();
    });
  }
});
