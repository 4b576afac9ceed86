// Terminals: the SDK's own way to them, over each transport, and its xterm.js add-on with a real terminal behind it.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe } from 'node:test';
import xterm from '@xterm/headless';

import { Agent } from '../agent/helper.mjs';
import { test } from '../lib/test.mjs';
import { Sdk } from './lib/sandbox.mjs';

const { SandboxAddon } = await import('@cloudflare/sandbox/xterm');

async function until(what, condition, ms = 60000) {
  for (const end = Date.now() + ms; !condition();) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what()}`);
    await new Promise((done) => { globalThis.setTimeout(done, 5); });
  }
}

// A Workers socket of a terminal, with what came over it.
class Viewer {
  bytes = '';
  messages = [];
  order = [];

  constructor(socket) {
    this.socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const text = typeof data === 'string';
      this.order.push(text ? 'text' : 'binary');
      if (text) this.messages.push(JSON.parse(data));
      else this.bytes += Buffer.from(data).toString('latin1');
    });
    socket.addEventListener('close', (event) => { this.closed = event; });
    socket.accept();
  }

  static async open(sdk, sessionId, options) {
    const viewer = new Viewer(await sdk.terminal(sessionId, options));
    await until(() => 'ready', () => viewer.messages.some((m) => m.type === 'ready'));
    return viewer;
  }

  keys(text) { this.socket.send(Buffer.from(text)); }
  sees(pattern) { return until(() => `${pattern} in ${JSON.stringify(this.bytes.slice(-500))}`, () => pattern.test(this.bytes)); }
}

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

for (const transport of ['http', 'websocket']) {
  describe(`terminals of the SDK over ${transport}`, () => {
    let sdk;
    before(async () => { sdk = await Sdk.open({ origin: `http://127.0.0.1:${agent.port}` }, { transport, name: `term-${transport}` }); });
    after(() => sdk.close());

    test('after ready keys are run and output comes as binary', async () => {
      const viewer = await Viewer.open(sdk);
      viewer.keys('echo $((40 + 2))-`basename $PWD`\r');
      await viewer.sees(/42-workspace\r\n/);
      viewer.socket.close(1000);
    });

    test('the size is given, and changed by a resize, at once', async () => {
      await sdk.sandbox.createSession({ id: `size-${transport}`, cwd: '/tmp', env: { OWN: 'yes' } });
      const viewer = await Viewer.open(sdk, `size-${transport}`, { cols: 100, rows: 30 });
      viewer.keys('stty size; echo $OWN-$PWD\r');
      await viewer.sees(/30 100\r\nyes-\/tmp\r\n/);
      viewer.socket.send(JSON.stringify({ type: 'resize', cols: 120, rows: 40 }));
      viewer.keys('stty size\r');
      await viewer.sees(/40 120\r\n/);
      viewer.socket.close(1000);
    });

    test('reconnecting gets what was before ready, two share it, and sessions do not', async () => {
      const [a, b] = ['shared', 'apart'].map((name) => `${name}-${transport}`);
      await sdk.sandbox.createSession({ id: a });
      await sdk.sandbox.createSession({ id: b });
      const first = await Viewer.open(sdk, a);
      first.keys('VAR=first; echo mar""ker\r');
      await first.sees(/marker\r\n/);
      first.socket.close(1000);
      const [second, third, apart] = await Promise.all([Viewer.open(sdk, a), Viewer.open(sdk, a), Viewer.open(sdk, b)]);
      assert.deepEqual(second.order.slice(0, 2), ['binary', 'text']);
      assert.match(second.bytes, /marker\r\n/);
      second.keys('echo to-b""oth-$VAR\r');
      await Promise.all([second.sees(/to-both-first\r\n/), third.sees(/to-both-first\r\n/)]);
      apart.keys('echo [$VAR]\r');
      await apart.sees(/\[\]\r\n/);
      for (const viewer of [second, third, apart]) viewer.socket.close(1000);
    });

    test('variables of several lines that the session exports arrive', async () => {
      await sdk.sandbox.setEnvVars({ LINES_OF: 'one\ntwo = 2\n' });
      const session = `lines-${transport}`;
      const created = await sdk.sandbox.createSession({ id: session });
      await created.setEnvVars({ LINES_OF: 'one\ntwo = 2\n' });
      const viewer = await Viewer.open(sdk, session);
      viewer.keys('printf "<%s>" "$LINES_OF" | tr "\\n" "#"; echo\r');
      await viewer.sees(/<one#two = 2#>\r\n/);
      viewer.socket.close(1000);
    });
  });
}

describe('the xterm.js add-on', () => {
  let states;
  before(() => { globalThis.location = { protocol: 'http:', host: `127.0.0.1:${agent.port}` }; });

  function connect(sessionId, { cols = 80, rows = 24, reconnect = false } = {}) {
    const terminal = new xterm.Terminal({ cols, rows, allowProposedApi: true });
    terminal.focus = () => {}; // which a terminal without a screen lacks
    states = [];
    const addon = new SandboxAddon({
      reconnect,
      getWebSocketUrl: ({ sessionId: id, origin }) => `${origin}/ws/pty?sessionId=${id}&cols=${terminal.cols}&rows=${terminal.rows}`,
      onStateChange: (state, error) => states.push(error ? `${state}: ${error.message}` : state),
    });
    terminal.loadAddon(addon);
    addon.connect({ sandboxId: 'any', sessionId });
    return { terminal, addon };
  }

  // What is on the screen now, without what has been scrolled away.
  const screen = ({ terminal }) => {
    const { buffer: { active }, rows } = terminal;
    return [...Array(rows).keys()].map((i) => active.getLine(active.baseY + i)?.translateToString(true) ?? '').join('\n').trimEnd();
  };
  const shows = (view, pattern) => until(() => `${pattern} on ${screen(view)}`, () => pattern.test(screen(view)));
  const connected = (view) => until(() => `connected: ${states}`, () => view.addon.state === 'connected');

  test('connects, sends what is typed, and follows the size of its terminal', async () => {
    const view = connect('addon', { cols: 90, rows: 25 });
    await connected(view);
    view.terminal.input('stty size\r');
    await shows(view, /^25 90$/m);
    view.terminal.resize(133, 44);
    view.terminal.input('stty size\r');
    await shows(view, /^44 133$/m);
    view.addon.dispose();
    assert.deepEqual(states.slice(0, 2), ['connecting', 'connected']);
  });

  test('Ctrl-C ends what runs', async () => {
    const view = connect('ctrl-c');
    await connected(view);
    view.terminal.input('sleep 321\r');
    while ((await agent.run('pgrep -fx "sleep 321"')).exitCode !== 0);
    view.terminal.input('\x03');
    await shows(view, /\^C/);
    view.terminal.input('echo al""ive\r');
    await shows(view, /^alive$/m);
    view.addon.dispose();
  });

  test('full-screen programs draw: an editor edits a file', async () => {
    const program = ['/usr/bin/vim', '/usr/bin/vi'].find(existsSync);
    const view = connect('editor');
    await connected(view);
    if (program) {
      view.terminal.input(`${program} -u NONE -N /tmp/edited\r`);
      await until(() => screen(view), () => view.terminal.buffer.active.type === 'alternate');
      view.terminal.input('ihello from the editor\x1b');
      await shows(view, /hello from the editor/);
      view.terminal.input(':wq\r');
      await until(() => screen(view), () => view.terminal.buffer.active.type === 'normal');
      view.terminal.input('cat /tmp/edited\r');
      await shows(view, /^hello from the editor$/m);
    } else {
      view.terminal.input('seq 1 500 | less\r');
      await shows(view, /^:$/m);
      view.terminal.input('G');
      await shows(view, /^500$/m);
      view.terminal.input('q');
    }
    view.addon.dispose();
  });

  test('reconnects with what was on the screen when the connection is lost', async () => {
    const view = connect('again', { reconnect: true });
    await connected(view);
    view.terminal.input('echo be""fore\r');
    await shows(view, /^before$/m);
    view.addon.socket.terminate();
    await until(() => `${states}`, () => states.filter((s) => s === 'connected').length === 2);
    await shows(view, /^before$/m);
    view.terminal.input('echo aft""er\r');
    await shows(view, /^after$/m);
    view.addon.dispose();
  });

  test('is told the exit, and gets a fresh shell when it reconnects', async () => {
    const view = connect('exits', { reconnect: true });
    await connected(view);
    view.terminal.input('X=old; exit 9\r');
    await until(() => `${states}`, () => states.some((s) => s.includes('Session exited with code 9')));
    await until(() => `${states}`, () => states.filter((s) => s === 'connected').length === 2);
    view.terminal.input('echo [$X]\r');
    await shows(view, /^\[\]$/m);
    view.addon.dispose();
  });

  test('loses none of a hundred megabytes', { timeout: 300000 }, async () => {
    const view = connect('much');
    await connected(view);
    /* xterm.js throws away what it has no time for, so whoever feeds it has to stop in time. */
    const write = view.terminal.write.bind(view.terminal);
    let received = 0, pending = 0;
    view.terminal.write = (data) => {
      received += data.length;
      pending += data.length;
      if (pending > 8e6) view.addon.socket.pause();
      write(data, () => {
        pending -= data.length;
        if (pending < 1e6) view.addon.socket.resume();
      });
    };
    view.terminal.input('stty -echo; PS1=\r');
    view.terminal.input('printf "[%s]\\n" go; head -c 100000000 /dev/zero | tr "\\0" x | fold -w 79; printf "[%s]\\n" over\r');
    await until(() => screen(view), () => /\[over\]$/m.test(screen(view)), 280000);
    assert.ok(received >= 100000000 + 2 * (100000000 / 79), `${received}`);
    view.addon.dispose();
  });
});
