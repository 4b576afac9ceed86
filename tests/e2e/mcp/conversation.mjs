/* What a client does with the tools, the same over both transports. `on()` gives {client, api}. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';

import { imagesDir, until } from '../lib/daemon.mjs';

const hasPython = fs.existsSync(path.join(imagesDir, 'names', 'base'));

export function conversation(test, on) {
  const call = async (name, args, options) => {
    const result = await on().client.callTool({ name, arguments: args }, undefined, { timeout: 300000, ...options });
    return { ...result, text: result.content.filter((item) => item.type === 'text').map((item) => item.text).join('\n') };
  };
  let id;

  test('the server says who it is, and what its tools take', async () => {
    const { client } = on();
    assert.equal(client.getServerVersion().name, 'berm');
    assert.deepEqual(client.getServerCapabilities(), { tools: {}, resources: {} });
    assert.match(client.getInstructions(), /sandbox/);
    assert.deepEqual(await client.ping(), {});
    const { tools } = await client.listTools();
    const exec = tools.find((tool) => tool.name === 'exec');
    assert.deepEqual(exec.inputSchema.required, ['sandbox', 'command']);
    assert.equal(exec.inputSchema.properties.timeout_ms.type, 'integer');
    assert.equal(tools.find((tool) => tool.name === 'sandbox_list').annotations.readOnlyHint, true);
    for (const tool of tools) assert.ok(tool.description.length > 15 && tool.inputSchema.additionalProperties === false, tool.name);
  });

  test('a sandbox is made, listed and described', async () => {
    const made = await call('sandbox_create', { name: 'For a model', labels: { team: 'mcp' }, env: { GREETING: 'moin' } });
    id = made.structuredContent.id;
    assert.equal(made.structuredContent.state, 'running');
    const { sandboxes } = (await call('sandbox_list', { label: 'team=mcp' })).structuredContent;
    assert.deepEqual(sandboxes.map((sandbox) => sandbox.id), [id]);
    const { labels, name } = (await call('sandbox_get', { sandbox: id })).structuredContent;
    assert.deepEqual([labels, name], [{ team: 'mcp' }, 'For a model']);
  });

  test('commands give output and status; sessions remember', async () => {
    const ran = await call('exec', { sandbox: id, command: 'echo "$GREETING"; echo no >&2; exit 7' });
    assert.deepEqual(ran.structuredContent, { exitCode: 7, stdout: 'moin\n', stderr: 'no\n', truncated: false });
    assert.match(ran.text, /moin[^]*no[^]*exit code 7/);
    await call('exec', { sandbox: id, session: 'work', command: 'cd /tmp; export A=1' });
    assert.equal((await call('exec', { sandbox: id, session: 'work', command: 'echo $PWD $A' })).structuredContent.stdout, '/tmp 1\n');
    assert.equal((await call('exec', { sandbox: id, command: 'sleep 100', timeout_ms: 100 })).structuredContent.exitCode, 124);
    const large = await call('exec', { sandbox: id, command: 'head -c 3000000 /dev/zero | tr "\\0" a' });
    assert.equal(large.structuredContent.truncated, true);
    assert.match(large.text, /more bytes of stdout/);
    const bad = await call('exec', { sandbox: id, command: 'true', cwd: '/workspace/none' });
    assert.equal(bad.isError, true);
    assert.equal(bad.structuredContent.code, 'exec_error');
  });

  test('progress tells the output as it comes', async () => {
    const told = [];
    /* It ends when all has been heard: what comes with the result the client has no ear for any more. */
    const pending = call('exec', { sandbox: id, command: 'for i in 1 2 3; do echo step $i; sleep 0.05; done; until [ -e heard ]; do sleep 0.02; done; rm heard' },
      { onprogress: (progress) => told.push(progress) });
    await until('it is told', () => told.map((progress) => progress.message).join('') === 'step 1\nstep 2\nstep 3\n');
    await call('file_write', { sandbox: id, path: '/workspace/heard', content: '' });
    const ran = await pending;
    assert.equal(ran.structuredContent.stdout, 'step 1\nstep 2\nstep 3\n');
    assert.ok(told.every((progress, i) => i === 0 || progress.progress > told[i - 1].progress));
  });

  test('a cancelled call kills its command', async () => {
    const abort = new AbortController();
    const pending = call('exec', { sandbox: id, command: 'echo $$ >pid; exec sleep 1234' }, { signal: abort.signal });
    const runs = async () => (await call('exec', { sandbox: id, command: '[ -s pid ] && [ -e /proc/$(cat pid) ]' })).structuredContent.exitCode === 0;
    pending.catch(() => {});
    await until('it runs', runs);
    abort.abort();
    await assert.rejects(pending);
    await until('it is gone', async () => !(await runs()));
  });

  test('files', async () => {
    await call('file_write', { sandbox: id, path: '/workspace/a/b.txt', content: 'zwölf\n' });
    assert.equal((await call('file_read', { sandbox: id, path: '/workspace/a/b.txt' })).text, 'zwölf\n');
    const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
    await call('file_write', { sandbox: id, path: '/workspace/a/dot.png', content: png, encoding: 'base64' });
    const image = await call('file_read', { sandbox: id, path: '/workspace/a/dot.png' });
    assert.deepEqual(image.content, [{ type: 'image', data: png, mimeType: 'image/png' }]);
    const listed = await call('file_list', { sandbox: id, path: '/workspace/a' });
    assert.deepEqual(listed.structuredContent.files.map((file) => file.name).sort(), ['b.txt', 'dot.png']);
    assert.equal((await call('file_delete', { sandbox: id, path: '/workspace/a/b.txt' })).isError, false);
    const gone = await call('file_read', { sandbox: id, path: '/workspace/a/b.txt' });
    assert.equal(gone.isError, true);
    assert.equal(gone.structuredContent.code, 'FILE_NOT_FOUND');
  });

  test('code remembers, and fails with its exception', async () => {
    if (!hasPython) {
      const none = await call('code_run', { sandbox: id, code: '1' });
      assert.equal(none.isError, true);
      assert.equal(none.structuredContent.code, 'PYTHON_NOT_AVAILABLE');
      return;
    }
    const sandbox = (await call('sandbox_create', { image: 'base' })).structuredContent.id;
    await call('code_run', { sandbox, code: 'x = 40' });
    assert.match((await call('code_run', { sandbox, code: 'print("hi"); x + 2' })).text, /42[^]*hi/);
    const failed = await call('code_run', { sandbox, code: '1/0' });
    assert.equal(failed.isError, true);
    assert.match(failed.text, /ZeroDivisionError: division by zero/);
    const plot = await call('code_run', { sandbox, code: 'import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()' });
    const image = plot.content.find((item) => item.type === 'image');
    assert.equal(image.mimeType, 'image/png');
    assert.equal(Buffer.from(image.data, 'base64').subarray(1, 4).toString(), 'PNG');
    assert.match((await call('code_run', { sandbox, language: 'javascript', code: '[1, 2].map((n) => n * 2)' })).text, /2[^]*4/);
    await on().api.delete(`/v1/sandbox/${sandbox}`);
    const anew = await call('code_run', { sandbox: (await call('sandbox_create', { sandbox, image: 'base' })).structuredContent.id, code: '6 * 7' });
    assert.match(anew.text, /42[^]*new interpreter/);
    await call('sandbox_destroy', { sandbox });
  });

  test('processes, a preview and a tunnel', async () => {
    await call('process_start', { sandbox: id, process: 'web', command: 'echo up; exec sleep 1000' });
    const { processes } = (await call('process_list', { sandbox: id })).structuredContent;
    assert.equal(processes.find((process) => process.id === 'web').status, 'running');
    await until('it wrote', async () => (await call('process_logs', { sandbox: id, process: 'web' })).structuredContent.stdout === 'up\n');
    assert.equal((await call('process_kill', { sandbox: id, process: 'web' })).isError, false);
    assert.equal((await call('process_kill', { sandbox: id, process: 'none' })).structuredContent.code, 'PROCESS_NOT_FOUND');
    const exposed = (await call('port_expose', { sandbox: id, port: 8080, name: 'web' })).structuredContent;
    assert.ok(new URL(exposed.url).hostname.startsWith(`8080-${id}-`));
    assert.equal((await call('port_list', { sandbox: id })).structuredContent.ports.length, 1);
    await call('port_unexpose', { sandbox: id, port: 8080 });
    assert.equal((await call('port_list', { sandbox: id })).structuredContent.ports.length, 0);
    assert.ok(new URL((await call('tunnel_open', { sandbox: id, port: 8081 })).structuredContent.url));
    assert.equal((await call('tunnel_close', { sandbox: id, port: 8081 })).isError, false);
  });

  test('what is in a sandbox can be read as resources, without a tool', async () => {
    const { client, api } = on();
    const read = async (uri) => (await client.readResource({ uri })).contents[0];
    const json = async (uri) => JSON.parse((await read(uri)).text);
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.ok(resourceTemplates.some(({ uriTemplate }) => uriTemplate === 'berm://{sandbox}/files/{+path}'));
    const { resources, nextCursor } = await client.listResources();
    assert.equal(nextCursor, undefined);
    assert.deepEqual(resources.map(({ uri }) => uri).filter((uri) => uri.startsWith(`berm://${id}`)),
      [`berm://${id}`, `berm://${id}/events`, `berm://${id}/processes`, `berm://${id}/files/workspace/`]);
    assert.equal(resources.find(({ uri }) => uri === `berm://${id}`).title, 'Sandbox For a model (running)');
    assert.equal((await json(`berm://${id}`)).name, 'For a model');
    assert.equal((await json(`berm://${id}/events`)).events[0].event, 'created');

    await api.put(`/v1/sandbox/${id}/file/workspace/res/a%20b%3F%23.txt`, 'grüß\n');
    await api.put(`/v1/sandbox/${id}/file/workspace/res/bytes.bin`, Buffer.from([0, 255, 1]));
    await api.exec(id, ['mkdir', '/workspace/res/below']);
    const { files } = await json(`berm://${id}/files/workspace/res/`);
    assert.deepEqual(files.map(({ name, type }) => [name, type]).sort(), [['a b?#.txt', 'file'], ['below', 'directory'], ['bytes.bin', 'file']]);
    const named = Object.fromEntries(files.map(({ name, uri }) => [name, uri]));
    assert.equal(named.below, `berm://${id}/files/workspace/res/below/`);
    assert.deepEqual(await json(named.below), { files: [] });
    const text = await read(named['a b?#.txt']);
    assert.deepEqual([text.text, text.uri], ['grüß\n', named['a b?#.txt']]);
    assert.deepEqual([...Buffer.from((await read(named['bytes.bin'])).blob, 'base64')], [0, 255, 1]);

    await call('process_start', { sandbox: id, process: 'log-of-it', command: 'echo told; echo wrong >&2' });
    await until('it wrote', async () => {
      const { stdout, stderr } = await json(`berm://${id}/processes/log-of-it/logs`);
      return stdout === 'told\n' && stderr === 'wrong\n';
    });
    assert.ok((await json(`berm://${id}/processes`)).processes.some((process) => process.id === 'log-of-it'));

    for (const part of ['/files/workspace/none', '/files/none/', '/processes/none/logs', '/none', '/processes/log-of-it', '/files/%zz', '/files/%00', '/files/a?b'])
      await assert.rejects(client.readResource({ uri: `berm://${id}${part}` }), { code: -32002 }, part);
    for (const uri of ['berm://nobody', 'berm://nobody/files/etc/passwd', 'berm://nobody/events', 'berm://NO/files/x', 'file:///etc/passwd', `berm://${'a'.repeat(129)}`])
      await assert.rejects(client.readResource({ uri }), { code: -32002 }, uri);
    assert.equal((await api.get('/v1/sandbox/nobody')).status, 404, 'a look makes no sandbox');
  });

  test('git says what was wrong', async () => {
    const refused = await call('git_checkout', { sandbox: id, repository: 'not a url' });
    assert.equal(refused.isError, true);
    assert.match(refused.structuredContent.code, /GIT/);
  });

  test('a sandbox is destroyed', async () => {
    assert.equal((await call('sandbox_destroy', { sandbox: id })).isError, false);
    assert.equal((await call('sandbox_get', { sandbox: id })).structuredContent.code, 'sandbox_not_found');
  });
}
