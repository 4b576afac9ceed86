/* berm docker: what wrangler calls, and builds of Dockerfiles. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, beforeEach, describe } from 'node:test';

import { Daemon, image, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Docker } from '../lib/docker.mjs';
import { test } from '../lib/test.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const build = path.resolve(process.env.BERM_BUILD ?? path.join(root, 'build'));

describe('berm docker', { skip: whyNoDaemon() }, () => {
  let daemon;
  let directory;
  let count = 0;
  let id; /* of the data directory, in the names of its images */
  const written = () => fs.readdirSync(path.join(imagesDir, 'names')).filter((name) => name.startsWith(id));

  before(async () => {
    daemon = new Daemon({ poolSize: 1, docker: true });
    await daemon.start();
    const data = fs.statSync(daemon.data);
    id = `commit-${data.dev.toString(16)}-${data.ino.toString(16)}-`;
  });
  beforeEach(() => {
    directory = path.join(daemon.top, `context-${++count}`);
    fs.mkdirSync(directory);
  });
  after(async () => {
    const engine = new Docker(daemon.dockerSocket);
    for (const { Id } of (await engine.get('/containers/json?all=1')).json) await engine.delete(`/containers/${Id}?force=1`);
    for (const { RepoTags } of (await engine.get('/images/json?all=1')).json) await engine.delete(`/images/${RepoTags[0]}`);
    await until('the images are gone', () => written().length === 0, 60000);
    await daemon.stop();
  });

  /* Not spawnSync: the daemon's output has to be read meanwhile. */
  async function docker(args, input) {
    const child = spawn(path.join(build, 'berm-docker'), args, { env: { ...process.env, DOCKER_HOST: `unix://${daemon.dockerSocket}`, TMPDIR: daemon.top } });
    const text = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr']) child[stream].on('data', (piece) => (text[stream] += piece));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const [status] = await once(child, 'close');
    return { status, ...text };
  }

  async function ok(args, input) {
    const result = await docker(args, input);
    assert.equal(result.status, 0, `${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  }

  const write = (name, text) => {
    fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
    fs.writeFileSync(path.join(directory, name), text);
  };

  test('everything that wrangler calls, in its order', async () => {
    const tag = 'cloudflare-dev/sandbox:7dc4ff87';
    await ok(['info']);
    await ok(['build', '--load', '-t', tag, '--platform', 'linux/amd64', '--provenance=false', '-f', '-', directory],
      'FROM docker.io/cloudflare/sandbox:0.12.10\nEXPOSE 8080\n');
    assert.equal(await ok(['image', 'inspect', tag, '--format', '{{ range .RepoTags }}{{ . }}\n{{ end }}']).then((text) => text.includes(tag)), true);
    assert.equal(await ok(['image', 'inspect', tag, '--format', '{{ len .Config.ExposedPorts }}']), '2\n');
    await ok(['pull', 'cloudflare/proxy-everything:3cb1195@sha256:0ef6716c', '--platform', 'linux/amd64']);
    assert.equal(await ok(['--host', `unix://${daemon.dockerSocket}`, 'info', '--format', '{{json .SecurityOptions}}']).then((text) => /rootless/.test(text)), false);
    assert.equal(JSON.parse(await ok(['context', 'ls', '--format', 'json'])).DockerEndpoint, `unix://${daemon.dockerSocket}`);
    const id = (await ok(['run', '-d', tag])).trim();
    const found = (await ok(['ps', '-a', '--filter', `ancestor=${tag}`, '--format', '{{.ID}}'])).trim();
    assert.equal(found, id.slice(0, 12));
    await ok(['rm', '--force', found]);
    await ok(['rmi', tag]);
    assert.notEqual((await docker(['image', 'inspect', tag])).status, 0);
    const login = await docker(['login', '--password-stdin', 'registry.example'], 'x');
    assert.equal(login.status, 1);
    assert.match(login.stderr, /no registry/);
  });

  test('settings are merged, expanded and need no file system', async () => {
    write('Dockerfile', ['# escape=`', 'ARG VERSION=0.12.10', 'FROM docker.io/cloudflare/sandbox:${VERSION}', 'ARG WHO=nobody', 'ENV A=1 `', '  # a comment between', "  B='two words' C=$WHO",
      'ENV D ${A}${E:-none}${A:+some}', 'LABEL x=y', 'EXPOSE 8080 9090/tcp', 'CMD echo $A', 'ENTRYPOINT ["sh", "-c"]'].join('\n'));
    await ok(['build', '-t', 'a:1', '--build-arg', 'WHO=ann', '--label', 'l=m', directory]);
    const config = JSON.parse(await ok(['image', 'inspect', 'a:1', '--format', '{{json .Config}}']));
    for (const entry of ['A=1', 'B=two words', 'C=ann', 'D=1nonesome']) assert.ok(config.Env.includes(entry), `${entry} in ${config.Env}`);
    assert.deepEqual(config.Labels, { x: 'y', l: 'm' });
    assert.deepEqual(Object.keys(config.ExposedPorts).sort(), ['3000/tcp', '8080/tcp', '9090/tcp']);
    assert.deepEqual(config.Entrypoint, ['sh', '-c']);
    assert.deepEqual(config.Cmd, ['/bin/sh', '-c', 'echo $A']);
    assert.deepEqual(written(), []);
  });

  /* Images are written whole, which takes seconds: one Dockerfile for all that is about files. */
  test('files: stages, copies, archives, a .dockerignore, owners, a cache by content; a tar that lies', { timeout: 300000 }, async () => {
    write('.dockerignore', '**/*.log\nsecret\n!keep.log\n');
    for (const [name, text] of [['secret', 's'], ['a.log', 'l'], ['keep.log', 'k'], ['src/one.txt', '1'], ['src/deep/two.txt', '2'], ['src/x.log', 'l'], ['plain.txt', 'p']]) write(name, text);
    const tar = (...args) => assert.equal(spawnSync('tar', ['-C', path.join(directory, 'src'), ...args]).status, 0);
    tar('-czf', path.join(directory, 'a.tar.gz'), 'one.txt');
    tar('-cJf', path.join(directory, 'b.tar.xz'), 'deep');
    tar('-cPf', path.join(directory, 'up.tar'), '--transform', 's,^,x/../../../escaped/,', 'one.txt');
    write('lie', '#!/bin/sh\ncase "$*" in *" up") cat /work/up.tar ;; *" noise") cat /dev/urandom ;; *) exec /bin/tar "$@" ;; esac\n');
    write('Dockerfile', [`FROM ${image} AS made`, 'WORKDIR /work', 'COPY . .', 'RUN <<EOF', 'set -e', 'test ! -f src/stop', 'find src keep.log -type f | sort >/found', 'ls secret a.log >>/found 2>&1 || true',
      'echo "$GREETING" >greeting', 'mkdir -p /d/sub /up /noise', 'echo f >/d/sub/f', 'chmod 4755 /d/sub/f', 'ln -s /etc/passwd /d/link', 'cp lie /usr/local/bin/tar', 'chmod 755 /usr/local/bin/tar', 'EOF',
      'ENV GREETING=hi', 'RUN echo $GREETING $(pwd) >/second', `FROM ${image}`, 'COPY --from=made /found /second /got/', 'COPY --from=made /work/src /tree', 'COPY --from=made /d/. /dot', 'COPY --from=made /d /dir/',
      'COPY --from=made /d/sub/f /file', 'COPY --chmod=600 --chown=12:34 src/one.txt /one', 'COPY src/*.txt /glob/', 'ADD a.tar.gz b.tar.xz plain.txt /add/', 'WORKDIR /got',
      `FROM ${image} AS up`, 'COPY --from=made /up /x', `FROM ${image} AS noise`, 'COPY --from=made /noise /x'].join('\n'));
    await ok(['build', '-t', 'files:1', '--target', '1', directory]);
    const out = await ok(['run', '--rm', 'files:1', 'sh', '-c', 'pwd; cat found second; (cd /tree; find . -type f | sort); stat -c "%a %u %g" /one; ls /glob; ls /work 2>/dev/null || echo none; ' +
      'cd /dot; find . | sort; readlink link; stat -c %a sub/f; ls -d /dir/* /file; cat /add/one.txt /add/deep/two.txt /add/plain.txt']);
    assert.deepEqual(out.trim().split('\n'), ['/got', 'keep.log', 'src/deep/two.txt', 'src/one.txt', "ls: cannot access 'secret': No such file or directory", "ls: cannot access 'a.log': No such file or directory",
      'hi /work', './deep/two.txt', './one.txt', '600 12 34', 'one.txt', 'none', '.', './link', './sub', './sub/f', '/etc/passwd', '4755', '/dir/link', '/dir/sub', '/file', '12p']);
    const again = await docker(['build', '-t', 'files:2', '--target', '1', directory]);
    assert.match(again.stderr, /\[made\] CACHED\n\[build\] CACHED/);

    const kept = (await ok(['run', '-d', 'files:1'])).trim();
    await ok(['exec', kept, 'sh', '-c', 'echo new >/new']);
    await ok(['commit', kept, 'kept:1']);
    await ok(['rm', '-f', kept]);
    assert.equal(await ok(['run', '--rm', 'kept:1', 'sh', '-c', 'cat /new; pwd']), 'new\n/got\n');

    for (const [target, message] of [['up', /'\.\.'/], ['noise', /archive/]]) {
      const result = await docker(['build', '-t', 'lies:1', '--target', target, directory]);
      assert.equal(result.status, 1, target);
      assert.match(result.stderr, /\[made\] CACHED/);
      assert.match(result.stderr, message);
    }
    assert.equal(fs.existsSync('/escaped'), false);

    write('src/stop', '');
    const changed = await docker(['build', '-t', 'files:3', '--target', '1', directory]);
    assert.equal(changed.status, 1);
    assert.match(changed.stderr, /returned 1/);
    assert.doesNotMatch(changed.stderr, /CACHED/);
  });

  /* In a terminal, which script(1) makes and `stty` has given a size; `type` goes to it when `when` has been said. */
  async function inTerminal(args, when, type) {
    const command = ['stty rows 33 cols 99;', path.join(build, 'berm-docker'), ...args].join(' ');
    const child = spawn('script', ['-qec', command, '/dev/null'], { env: { ...process.env, DOCKER_HOST: `unix://${daemon.dockerSocket}`, TERM: 'dumb' } });
    let output = '';
    child.stdout.on('data', (piece) => {
      output += piece;
      if (type && when.test(output)) {
        child.stdin.write(type);
        type = undefined;
      }
    });
    const [status] = await once(child, 'close');
    return { status, output };
  }

  test('people: exec -it and run -it in a terminal, attach, stats', async () => {
    const shell = await inTerminal(['run', '--rm', '-it', image, 'sh'], /[#$] /, 'stty size; echo $((6 * 7)); exit 5\r');
    assert.equal(shell.status, 5, shell.output);
    assert.match(shell.output, /33 99\r\n42\r\n/);
    const id = (await ok(['run', '-d', '--name', 'talker', image, 'sh', '-c', 'echo begun; until [ -e /tmp/go ]; do sleep 0.02; done; echo over'])).trim();
    const attached = ok(['attach', 'talker']);
    const keys = await inTerminal(['exec', '-it', 'talker', 'sh', '-c', "'tty; cat; exit 3'"], /pts/, 'typed\r\x04');
    assert.deepEqual([keys.status, /\/dev\/pts\/\d+\r\n[^]*typed\r\ntyped\r\n/.test(keys.output)], [3, true], keys.output);
    assert.match(await ok(['stats', '--no-stream']), /^NAME +CPU % +MEM USAGE \/ LIMIT +PIDS\ntalker +\d+\.\d\d% +[^/]+ \/ [^/]+ +\d+\n$/);
    await ok(['exec', 'talker', 'touch', '/tmp/go']);
    assert.match(await attached, /over\n$/);
    assert.equal(await ok(['logs', '-n', '1', 'talker']), 'over\n');
    assert.match(await ok(['logs', '-t', '--since', '10m', 'talker']), /^\d{4}-\S+Z begun\n\d{4}-\S+Z over\n$/);
    assert.equal(await ok(['logs', '--until', '1h', 'talker']), '');
    await ok(['rm', '-f', id]);
  });

  test('what goes wrong is told with its line, and nothing is left', async () => {
    const wrong = [['FROM nowhere/at:all', /No such image/], [`FROM ${image}\nRUN exit 7`, /line 2: .*returned 7/], [`FROM ${image}\nCOPY missing /x`, /missing.*not found/],
      [`FROM ${image}\nCOPY ../../etc/passwd /x`, /not found/], [`FROM ${image}\nADD https://example.com/x /x`, /line 2: ADD of what is not local/], [`FROM ${image}\nBAKE cake`, /unknown instruction: BAKE/],
      ['RUN early', /before the first FROM/], [`FROM ${image}\nRUN --mount=type=secret,id=x true`, /--mount is not supported/], [`FROM ${image}\nENV A=\${B:?no}`, /not understood/], ['', /no FROM/]];
    fs.symlinkSync('/etc', path.join(directory, 'out'));
    wrong.push([`FROM ${image}\nCOPY out/passwd /x`, /not found/]);
    for (const [text, message] of wrong) {
      const result = await docker(['build', '-t', 'wrong:1', '-f', '-', directory], text);
      assert.equal(result.status, 1, text);
      assert.match(result.stderr, message);
    }
    assert.equal(await ok(['ps', '-aq']), '');
    assert.notEqual((await docker(['build', '--platform', 'linux/arm64', directory], '')).status, 0);
  });
});
