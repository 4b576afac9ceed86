/*
 * The Docker API from inside: code that has taken over a container made through it, as a Worker's is, reaches nothing
 * of that API, and what it leaves in its files does no harm when they become an image. Runs with the attack suite.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { Daemon, hasImage, imagesDir, until, whyNoDaemon } from '../e2e/lib/daemon.mjs';
import { Docker, run } from '../e2e/lib/docker.mjs';

const skip = whyNoDaemon() ?? (hasImage('minimal') ? undefined : 'no image minimal');

/* workerd's listener of outgoing connections: lets all of them pass, which is the widest that it can say. */
function permissive(asked) {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (piece) => {
      asked.push(piece.toString('latin1'));
      socket.write('HTTP/1.1 202 Accepted\r\n\r\n');
    });
  });
  return server.listen(0, '127.0.0.1');
}

/* Sends one request to each "address port" of standard input; prints the first line of what comes back. */
const knock = `use IO::Socket::INET; use Socket qw(:all); $SIG{PIPE} = 'IGNORE';
while (<STDIN>) { chomp; my ($host, $port) = split / /; my $said = 'refused';
  my $packed = $host =~ /:/ ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $host)) : (inet_aton($host) && pack_sockaddr_in($port, inet_aton($host)));
  if ($packed && socket(my $s, $host =~ /:/ ? PF_INET6 : PF_INET, SOCK_STREAM, 0)) {
    eval { local $SIG{ALRM} = sub { die "late" }; alarm 60;
      if (connect($s, $packed)) { syswrite($s, $ENV{REQUEST}); my $n = sysread($s, my $text, 200); $said = $n ? (split /\\r/, $text)[0] : 'closed'; }
      alarm 0; };
    $said = 'silent' if $@; }
  print "$host $port: $said\\n"; }`;

describe('a container of the Docker API', { skip, concurrency: 1 }, () => {
  let daemon;
  let docker;

  before(async () => {
    daemon = new Daemon({ poolSize: 0, docker: true, options: ['--sandbox-disk', '128MiB', '--sandbox-image', 'minimal'] });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
  });
  after(async () => {
    const { dev, ino } = fs.statSync(daemon.data);
    const mine = `commit-${dev.toString(16)}-${ino.toString(16)}-`;
    await until('its images are gone', () => !fs.readdirSync(path.join(imagesDir, 'names')).some((name) => name.startsWith(mine)), 60000);
    await daemon.stop();
  });

  test('reaches neither the socket, nor the daemon, nor the interceptor, nor another container', async (t) => {
    const asked = [];
    const workerd = permissive(asked);
    await once(workerd, 'listening');
    const { port } = await docker.pair('taken-over');
    const other = await docker.pair('other');
    t.after(async () => {
      for (const name of ['taken-over', 'taken-over-proxy', 'other', 'other-proxy']) await docker.delete(`/containers/${name}?force=1`);
      workerd.close();
    });
    const told = await fetch(`http://127.0.0.1:${port}/egress`, { method: 'PUT', body: JSON.stringify({ port: workerd.address().port, internet: { enabled: true } }) });
    assert.equal(told.ok, true, 'from the host it can be told: the request is right');
    await run(other.port, 'mkdir -p /srv && (while :; do echo x; sleep 1; done) >/dev/null 2>&1 &');

    const here = Object.values(os.networkInterfaces()).flat().map((one) => one.address.split('%')[0]).filter((address) => !/^fe80/i.test(address));
    const addresses = [...new Set([...here, '127.0.0.1', '127.0.0.2', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', '172.17.0.1', '169.254.169.254', 'host.docker.internal', 'gateway.docker.internal', 'localhost'])];
    const ports = [...new Set([port, other.port, workerd.address().port, Number(new URL(daemon.url).port), 39001, 2375, 2376])];
    const wish = '{"port":1,"dns":{"allowHostnames":["*"]},"internet":{"enabled":true}}';
    const request = `PUT /egress HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${wish.length}\r\n\r\n${wish}`;
    const list = addresses.flatMap((address) => ports.map((p) => `${address} ${p}`)).join('\n');
    await run(port, `cat > /knock.pl <<'END'\n${knock}\nEND\ncat > /places <<'END'\n${list}\nEND`);
    const quoted = request.replaceAll('\r\n', '\\r\\n');
    const result = await run(port, `REQUEST="$(printf '${quoted}')" perl /knock.pl < /places`);
    const lines = result.stdout.trim().split('\n');
    assert.equal(lines.length, addresses.length * ports.length, result.stderr);
    assert.deepEqual(lines.filter((line) => /HTTP\/|silent/.test(line)), [], 'nobody answers');

    const sockets = (await run(port, 'find / -xdev -type s 2>/dev/null; cat /proc/net/unix | sed 1d | grep -c docker')).stdout.trim();
    assert.equal(sockets.split('\n').at(-1), '0');
    assert.doesNotMatch(sockets, /docker|berm/);
    const shown = (await docker.get('/containers/other/json')).json;
    assert.equal(shown.State.Status, 'running');
    const control = await fetch(`http://127.0.0.1:${port}/ca`);
    assert.equal(control.status, 200);
  });

  test('leaves no trap in its files for whoever makes an image of them', async (t) => {
    const { port } = await docker.pair('hostile');
    const tags = [];
    t.after(async () => {
      for (const name of ['hostile', 'hostile-proxy', 'next']) await docker.delete(`/containers/${name}?force=1`);
      for (const tag of tags) await docker.delete(`/images/${tag}`);
    });
    const mark = path.join(daemon.top, 'touched');
    const script = `mkdir -p /t/d; cd /t
      mknod c c 1 3; mknod w c 0 0; mknod b b 8 0; mkfifo f
      echo keep > .wh.etc; echo keep > .wh..wh..opq; echo x > '--checkpoint=1'; echo x > '--checkpoint-action=exec=touch ${mark}'; echo x > '--to-command=touch ${mark}'
      ln -s / root; ln -s ../../../../../../../../etc/passwd up; ln -s ${mark} mark; ln -s /proc/1/root proc1; ln -s loop loop
      touch "$(printf 'a\\001\\033[2Jb\\nc')" "$(printf '\\377\\376')" "$(printf 'n%.0s' $(seq 254))"
      cp /bin/sh suid; chmod 6777 suid; chmod 0000 d
      i=0; while [ $i -lt 2000 ]; do ln suid "h$i"; i=$((i+1)); done
      perl -e 'for (qw(user.overlay.opaque user.overlay.redirect trusted.overlay.opaque user.kept)) { my ($at, $n, $v) = ("/t", $_, "y"); syscall(188, $at, $n, $v, 1, 0) }'
      mv /usr/share /usr/gone; rm -rf /opt; ln -s /etc /opt; find /t | wc -l`;
    const made = await run(port, script);
    assert.ok(Number(made.stdout.trim()) > 2000, made.stderr);
    tags.push('hostile:1');
    const answer = await docker.post('/commit?container=hostile&repo=hostile&tag=1');
    assert.equal(answer.status, 201, answer.text);
    assert.equal(fs.existsSync(mark), false, 'nothing of it was run');
    await docker.post('/containers/create?name=next', { Image: 'hostile:1' });
    assert.equal((await docker.post('/containers/next/start')).status, 204);
    const exec = await docker.post('/containers/next/exec', { AttachStdout: true, Tty: true, Cmd: ['sh', '-c',
      `cd /t; ls -d c w b 2>/dev/null; cat .wh.etc .wh..wh..opq; readlink root up loop; stat -c '%a %h' suid; ls -d /usr/share /etc/passwd 2>/dev/null; readlink /opt
       perl -e 'for (qw(user.overlay.opaque user.overlay.redirect trusted.overlay.opaque user.kept)) { my ($at, $n, $v) = ("/t", $_, " " x 9); print syscall(191, $at, $n, $v, 9), "\\n" }'`] });
    const text = (await docker.post(`/exec/${exec.json.Id}/start`, { Tty: true })).text.replaceAll('\r', '');
    assert.equal(text.trim(), 'keep\nkeep\n/\n../../../../../../../../etc/passwd\nloop\n6777 2001\n/etc/passwd\n/etc\n-1\n-1\n-1\n1');
  });

  test('that is too deep or too many for an image is told so, and its end waits for nothing', async (t) => {
    const { port } = await docker.pair('deep');
    t.after(async () => {
      for (const name of ['deep', 'deep-proxy']) await docker.delete(`/containers/${name}?force=1`);
      await docker.delete('/images/deep:1');
    });
    const made = await run(port, 'cd /root; perl -e \'for (1..400) { mkdir "d"; chdir "d" or die }\'; echo $?');
    assert.equal(made.stdout.trim(), '0', made.stderr);
    const answer = await docker.post('/commit?container=deep&repo=deep&tag=1');
    assert.equal(answer.status, 422, answer.text);
    assert.equal((await run(port, 'cd /root && rm -rf d && echo fine')).stdout.trim(), 'fine');

    await run(port, 'head -c 90000000 /dev/urandom > /root/big');
    let over = false;
    const under = docker.post('/commit?container=deep&repo=deep&tag=1').finally(() => (over = true));
    await until('it is read', () => over || fs.readdirSync('/proc').some((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('berm-commit\0');
      } catch {
        return false;
      }
    }), 60000);
    assert.equal((await docker.delete('/containers/deep?force=1')).status, 204, 'it goes while it is read');
    const outcome = await under;
    assert.equal(outcome.status, 201, outcome.text);
  });
});
