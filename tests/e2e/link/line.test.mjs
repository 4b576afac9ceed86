/* Links over lines as they are: far, lossy, cut, without UDP, with an address that changes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { after, before, describe } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from '../lib/test.mjs';
import { Line, whyNoLine } from './line.mjs';

const REASON = { CLOSED: 1, LOST: 4 };

/* Five seconds are promised, to machines that have the time. */
const SOON_MS = 60000;

async function total(socket) {
  let bytes = 0;
  for await (const part of socket) bytes += part.length;
  return bytes;
}

for (const transport of ['quic', 'h2'])
  describe(`a link over ${transport}`, { skip: whyNoLine() }, () => {
    let line, edge, home;

    before(async () => {
      line = await new Line().start();
      edge = await line.edge();
      home = line.home({ transport });
      assert.equal((await home.expect(/^up \d+ (\w+) 10\.77\.0\.1:4433$/))[1], transport);
      assert.equal((await edge.expect(/^up \d+ (\w+) 10\.77\.0\.2:\d+$/))[1], transport);
    });
    after(() => line.end());

    test('streams are whole over 50 ms of delay and 2 % of loss', async () => {
      await line.bad('delay 25', 'loss 2');
      const [echo, body] = [line.stream('echo'), line.stream('send 2000000')];
      assert.ok((await line.echo(echo, 'hello')) >= 49);
      assert.equal(await total(body), 2000000);
      assert.ok((await line.echo(echo, 'x'.repeat(20000))) >= 49);
      const sink = line.stream('sink');
      sink.end(Buffer.alloc(500000));
      assert.equal(String((await once(sink, 'data'))[0]), '500000\n');
      echo.destroy();
      sink.destroy();
      await line.bad('delay 0', 'loss 0');
    });

    test('a reader that does not read stalls its own stream only', async () => {
      const slow = line.stream('send 50000000');
      const echo = line.stream('echo');
      for (let i = 0; i < 20; i++) await line.echo(echo, 'ping');
      slow.destroy();
      echo.destroy();
    });

    test('after a cut of 1 s the same link and its streams go on', async () => {
      const echo = line.stream('echo');
      await line.echo(echo, 'before');
      await line.bad('cut');
      await delay(1000);
      await line.bad('mend');
      await line.echo(echo, 'after');
      for (const end of [home, edge]) assert.deepEqual(end.seen.filter((one) => /^(up|down) [1-9]/.test(one)), []);
      echo.destroy();
    });

    test('after a cut that was too long another link is there soon', async () => {
      await line.bad('cut');
      const [, reason] = await home.expect(/^down [1-9]\d* (\d)/);
      assert.equal(Number(reason), REASON.LOST);
      await line.bad('mend');
      const mended = performance.now();
      await home.expect(/^up /);
      await edge.expect(/^up /);
      assert.ok(performance.now() - mended < SOON_MS);
      await line.use('again');
    });

    test('a worker that is killed comes back, and both ends are told', async () => {
      for (const [part, other] of [[home, edge], [edge, home]]) {
        const killed = performance.now();
        process.kill(line.worker(part), 'SIGKILL');
        await part.expect(/^down [1-9]\d* 4 \d+ berm-link crashed$/);
        await home.expect(/^up /);
        await edge.expect(/^up /);
        await other.expect(/^down [1-9]/);
        assert.ok(performance.now() - killed < SOON_MS);
        await line.use('again');
      }
    });

    test('drained by the edge, a link ends when its last stream has', async () => {
      const echo = line.stream('echo');
      await line.echo(echo, 'before');
      edge.say('drain');
      await home.expect(/^draining /);
      await line.echo(echo, 'still there');
      echo.end();
      assert.equal(Number((await home.expect(/^down [1-9]\d* (\d)/))[1]), REASON.CLOSED);
      await edge.end();
      edge = await line.edge();
      await home.expect(/^up /);
      await edge.expect(/^up /);
      await line.use('its successor');
    });
  });

describe('a link of either kind', { skip: whyNoLine() }, () => {
  let line, edge, home;

  before(async () => {
    line = await new Line().start();
  });
  after(() => line.end());

  test('is over HTTP/2 soon where UDP does not get through', async () => {
    await line.bad('udp no');
    edge = await line.edge();
    const began = performance.now();
    home = line.home();
    assert.equal((await home.expect(/^up \d+ (\w+)/))[1], 'h2');
    assert.ok(performance.now() - began < SOON_MS);
    await edge.expect(/^up /);
    await line.use('over TCP');
  });

  test('is served by workers that have given up what they do not need', () => {
    for (const part of [home, edge]) {
      const status = fs.readFileSync(`/proc/${line.worker(part)}/status`, 'utf8');
      assert.match(status, /^NoNewPrivs:\t1$/m);
      if (!process.env.BERM_SANITIZED) assert.match(status, /^Seccomp:\t2$/m);
      assert.match(fs.readFileSync(`/proc/${line.worker(part)}/limits`, 'utf8'), /^Max core file size +0 +0 /m);
    }
  });

  test('goes over to QUIC once UDP gets through, and old streams end where they are', async () => {
    const echo = line.stream('echo');
    await line.echo(echo, 'before');
    await line.bad('udp yes');
    assert.equal((await home.expect(/^up \d+ (\w+)/))[1], 'quic');
    await edge.expect(/^up /);
    await line.echo(echo, 'still over TCP');
    await line.use('over UDP');
    echo.end();
    await home.expect(/^down \d+ 1 /);
  });

  test('survives another address of the dialler: QUIC migrates', async () => {
    const echo = line.stream('echo');
    await line.echo(echo, 'before');
    line.ip('home', 'addr del 10.77.0.2/24 dev cable0');
    line.ip('home', 'addr add 10.77.0.9/24 dev cable0');
    await line.echo(echo, 'after');
    assert.deepEqual(home.seen.filter((one) => /^(up|down) [1-9]/.test(one)), []);
    echo.destroy();
  });
});
