/* Idempotency-Key: a request that says one is run at most once, whatever becomes of clients and of the daemon. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';

import { Api, outcome } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('Idempotency-Key', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  const at = (rest, id = 'once') => `/v1/sandbox/${id}${rest}`;
  const key = (value) => ({ headers: { 'idempotency-key': value } });
  const lines = async (name) => (await api.exec('once', `cat /workspace/${name} 2>/dev/null | wc -l`)).out.trim();

  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
    await api.put(at(''), {});
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  /* Sends a request and forgets its client once the sandbox shows that it runs. */
  async function abandon(path, body, headers, shows) {
    const request = api.open('POST', path, { agent: false, headers });
    request.end(JSON.stringify(body));
    await until('it runs', shows);
    request.destroy();
  }

  test('a repeat of exec is answered the same bytes, and nothing runs again', async () => {
    const body = { command: 'echo x >>ran; echo out $$; echo err >&2; exit 3' };
    const first = await api.post(at('/exec'), body, key('exec-1'));
    const again = await api.post(at('/exec'), body, key('exec-1'));
    assert.equal(outcome(first.text).code, 3);
    assert.equal(again.text, first.text);
    assert.deepEqual([first.headers['idempotency-replayed'], again.headers['idempotency-replayed']], [undefined, 'true']);
    assert.deepEqual([again.headers['berm-generation'], again.headers['content-type']], ['1', 'text/event-stream']);
    assert.notEqual(again.headers['berm-request-id'], first.headers['berm-request-id']);
    assert.equal(await lines('ran'), '1');
    assert.notEqual((await api.post(at('/exec'), body, key('exec-2'))).text, first.text);
    assert.equal(await lines('ran'), '2');
  });

  test('execute, processes and file writes', async () => {
    const command = { command: 'echo x >>executed; echo $$' };
    const first = await api.post(at('/execute'), command, key('execute'));
    assert.deepEqual((await api.post(at('/execute'), command, key('execute'))).json, first.json);
    assert.equal(await lines('executed'), '1');
    const started = await api.post(at('/processes'), { command: 'echo x >>started' }, key('start'));
    assert.equal((await api.post(at('/processes'), { command: 'echo x >>started' }, key('start'))).json.processId, started.json.processId);
    assert.equal((await api.put(at('/file/workspace/f'), 'first', key('put'))).status, 200);
    await api.put(at('/file/workspace/f'), 'other');
    assert.equal((await api.put(at('/file/workspace/f'), 'first', key('put'))).status, 200);
    assert.equal((await api.get(at('/file/workspace/f'))).text, 'other');
    const stdin = { stdin: 'one\ntwo\n', headers: { 'idempotency-key': 'stdin' } };
    assert.equal((await api.exec('once', ['cat'], stdin)).out, 'one\ntwo\n');
    assert.equal((await api.exec('once', ['cat'], stdin)).out, 'one\ntwo\n');
    assert.equal((await api.exec('once', ['cat'], { ...stdin, stdin: 'three\n' })).status, 422);
  });

  test('making a sandbox is answered as it was, 201 included', async () => {
    const first = await api.put(at('', 'made'), { labels: { a: '1' } }, key('make'));
    const again = await api.put(at('', 'made'), { labels: { a: '1' } }, key('make'));
    assert.deepEqual([first.status, again.status], [201, 201]);
    assert.deepEqual(again.json, first.json);
    await api.delete(at('', 'made'));
    assert.equal((await api.put(at('', 'made'), { labels: { a: '1' } }, key('make'))).status, 201, 'the first outcome');
    assert.equal((await api.get(at('', 'made'))).status, 404, 'and no new sandbox');
  });

  test('the same key with another request is refused; the same key of another sandbox is another key', async () => {
    const body = { command: 'echo mine' };
    await api.post(at('/exec'), body, key('mine'));
    for (const [method, path, other, headers] of [['POST', at('/exec'), { command: 'echo other' }, {}], ['POST', at('/exec'), body, { 'session-id': 's' }],
      ['POST', at('/execute'), body, {}], ['PUT', at('/file/workspace/x'), 'x', {}]]) {
      const response = await api.call(method, path, { body: other, headers: { 'idempotency-key': 'mine', ...headers } });
      assert.deepEqual([response.status, response.json.context.field], [422, 'Idempotency-Key'], path);
    }
    assert.equal(outcome((await api.post(at('/exec', 'elsewhere'), { command: 'echo theirs' }, key('mine'))).text).out, 'theirs\n');
  });

  test('repeats that come meanwhile see the run of the first', async () => {
    const body = { command: 'echo x >>together; echo begin; while [ ! -e go ]; do sleep 0.02; done; echo end' };
    const all = Array.from({ length: 8 }, () => api.post(at('/exec'), body, key('together')));
    await until('it runs', async () => (await lines('together')) === '1');
    const late = api.post(at('/exec'), body, key('together'));
    assert.equal((await api.post(at('/exec'), { command: 'true' }, key('together'))).status, 422);
    await api.put(at('/file/workspace/go'), '');
    const answers = await Promise.all([...all, late]);
    for (const answer of answers) assert.equal(answer.text, answers[0].text);
    assert.equal(outcome(answers[0].text).out, 'begin\nend\n');
    assert.equal(answers.filter((answer) => !answer.headers['idempotency-replayed']).length, 1);
    assert.equal(await lines('together'), '1');
  });

  test('the work goes on when its client goes away, and a repeat has its outcome', async () => {
    const body = { command: 'echo x >>gone; while [ ! -e gone-go ]; do sleep 0.02; done; echo finished' };
    await abandon(at('/exec'), body, { 'idempotency-key': 'gone' }, async () => (await lines('gone')) === '1');
    await api.put(at('/file/workspace/gone-go'), '');
    assert.equal(outcome((await api.post(at('/exec'), body, key('gone'))).text).out, 'finished\n');
    assert.equal(await lines('gone'), '1');
  });

  test('what began nothing frees its key', async () => {
    assert.equal((await api.post(at('/exec'), { argv: [] }, key('free'))).status, 400);
    assert.equal(outcome((await api.post(at('/exec'), { argv: ['true'] }, key('free'))).text).code, 0);
    assert.equal((await api.put(at('', 'nope'), { image: 'no-such-image' }, key('image'))).status, 404);
    assert.equal((await api.put(at('', 'nope'), {}, key('image'))).status, 201);
  });

  test('keys are checked, and refused where they would not be kept', async () => {
    for (const bad of ['', 'a b', 'x'.repeat(129)]) assert.equal((await api.post(at('/exec'), { argv: ['true'] }, key(bad))).json.context.field, 'Idempotency-Key');
    assert.equal((await api.post(at('/persist'), undefined, key('x'))).status, 400);
    assert.equal((await api.get(at('/running'), key('x'))).status, 200);
    const twice = await api.post(at('/exec'), { argv: ['true'] }, { headers: { 'idempotency-key': ['a', 'b'] } });
    assert.equal(twice.status, 400);
  });

  test('an answer that is too large to be kept is streamed once, and a repeat says so', async () => {
    const body = { command: 'head -c 3000000 /dev/zero; echo x >>large' };
    const first = await api.post(at('/exec'), body, key('large'));
    assert.equal(outcome(first.text).outBytes.length, 3000000);
    const again = await api.post(at('/exec'), body, key('large'));
    assert.deepEqual([again.status, again.json.code], [409, 'conflict']);
    assert.equal(await lines('large'), '1');
  });

  test('a client cannot pass for the daemon itself', async () => {
    const made = (await api.post('/v1/keys', {})).json;
    const keyed = new Api(daemon, made.key);
    const response = await api.get('/v1/sandboxes', { headers: { 'berm-once': '1' } });
    assert.equal(response.status, 401);
    assert.equal((await api.post(at('/exec'), { argv: ['true'] }, key('stranger'))).status, 401);
    assert.equal(outcome((await keyed.post(at('/exec'), { argv: ['true'] }, key('friend'))).text).code, 0);
    await keyed.delete(`/v1/keys/${made.id}`);
    keyed.close();
  });

  test('outcomes outlive a SIGKILL of bermd; what it was working on is not run again', async () => {
    const done = { command: 'echo x >>done; echo $$' };
    const first = await api.post(at('/exec'), done, key('kill-done'));
    const body = { command: 'echo x >>cut; sleep 20' };
    const request = api.open('POST', at('/exec'), { agent: false, headers: { 'idempotency-key': 'kill-cut' } });
    request.end(JSON.stringify(body));
    await until('it runs', async () => (await lines('cut')) === '1');
    const broken = new Promise((done) => request.once('close', done)); /* whether an answer had begun or not */
    await daemon.end('SIGKILL');
    await broken;
    await daemon.start();
    api.close();
    api = new Api(daemon);
    assert.equal((await api.post(at('/exec'), done, key('kill-done'))).text, first.text);
    assert.equal(await lines('done'), '1');
    const unknown = await api.post(at('/exec'), body, key('kill-cut'));
    assert.deepEqual([unknown.status, unknown.json.code, unknown.json.context.field], [409, 'conflict', 'Idempotency-Key']);
    assert.equal(await lines('cut'), '1');
  });
});
