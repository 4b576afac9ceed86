/* A repository of git, of pip, of npm and of apt on the internet of the tests, and what gets something from each. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const run = (cwd, ...argv) => execFileSync(argv[0], argv.slice(1), { cwd, stdio: 'pipe', env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' } });

function makeGit(www) {
  const work = path.join(www, 'work');
  fs.mkdirSync(work);
  run(work, 'git', 'init', '-q', '-b', 'main');
  fs.writeFileSync(path.join(work, 'README'), 'cloned\n');
  run(work, 'git', '-c', 'user.name=a', '-c', 'user.email=a@b', 'add', '.');
  run(work, 'git', '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qm', 'one');
  run(www, 'git', 'clone', '-q', '--bare', 'work', 'repo.git');
  run(path.join(www, 'repo.git'), 'git', 'update-server-info');
}

function makePip(www) {
  const place = path.join(www, 'simple', 'bermtest');
  fs.mkdirSync(place, { recursive: true });
  run(place, 'python3', '-c', `
import zipfile
z = zipfile.ZipFile('bermtest-1.0-py3-none-any.whl', 'w')
z.writestr('bermtest.py', 'VALUE = 42')
z.writestr('bermtest-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: bermtest\\nVersion: 1.0\\n')
z.writestr('bermtest-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
z.writestr('bermtest-1.0.dist-info/RECORD', 'bermtest.py,,\\nbermtest-1.0.dist-info/METADATA,,\\nbermtest-1.0.dist-info/WHEEL,,\\nbermtest-1.0.dist-info/RECORD,,\\n')
z.close()`);
  fs.writeFileSync(path.join(place, 'index.html'), '<a href="bermtest-1.0-py3-none-any.whl">bermtest-1.0-py3-none-any.whl</a>');
}

function makeNpm(www) {
  const manifest = { name: 'bermtest', version: '1.0.0', main: 'index.js' };
  fs.mkdirSync(path.join(www, 'package'));
  fs.writeFileSync(path.join(www, 'package', 'package.json'), JSON.stringify(manifest));
  fs.writeFileSync(path.join(www, 'package', 'index.js'), 'module.exports = 42;');
  run(www, 'tar', 'czf', 'bermtest.tgz', 'package');
  fs.mkdirSync(path.join(www, 'bermtest'));
  /* The server puts its own scheme in. */
  fs.writeFileSync(path.join(www, 'bermtest', 'index.json'), JSON.stringify({ name: 'bermtest', 'dist-tags': { latest: '1.0.0' },
    versions: { '1.0.0': { ...manifest, dist: { tarball: 'SCHEME://registry.test/bermtest.tgz' } } } }));
}

function makeApt(www) {
  const tree = path.join(www, 'deb');
  fs.mkdirSync(path.join(tree, 'root', 'DEBIAN'), { recursive: true });
  fs.mkdirSync(path.join(tree, 'root', 'usr', 'share', 'bermtest'), { recursive: true });
  fs.writeFileSync(path.join(tree, 'root', 'usr', 'share', 'bermtest', 'value'), '42\n');
  const control = 'Package: bermtest\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: a test\n';
  fs.writeFileSync(path.join(tree, 'root', 'DEBIAN', 'control'), control);
  run(tree, 'dpkg-deb', '--root-owner-group', '-b', 'root', 'bermtest_1.0_all.deb');
  const deb = fs.readFileSync(path.join(tree, 'bermtest_1.0_all.deb'));
  fs.writeFileSync(path.join(tree, 'Packages'),
    `${control}Filename: ./bermtest_1.0_all.deb\nSize: ${deb.length}\nSHA256: ${createHash('sha256').update(deb).digest('hex')}\n`);
}

export function makePackages(www) {
  for (const make of [makeGit, makePip, makeNpm, makeApt]) make(www);
}

/* Each client as people call it; `out` runs a command in the sandbox and wants it to succeed. */
export async function installPackages(out, scheme) {
  const sh = (script) => out(['bash', '-c', script]);
  const registry = `${scheme}://registry.test`;
  assert.equal(await sh(`rm -rf /tmp/repo && git clone -q ${scheme}://other.test/repo.git /tmp/repo && cat /tmp/repo/README`), 'cloned\n');
  assert.equal(await sh('rm -rf /tmp/py && python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target /tmp/py ' +
    `--index-url ${registry}/simple ${scheme === 'http' ? '--trusted-host registry.test' : ''} bermtest >&2 && ` +
    'PYTHONPATH=/tmp/py python3 -c "import bermtest; print(bermtest.VALUE)"'), '42\n');
  assert.equal(await sh('rm -rf /tmp/js && mkdir /tmp/js && cd /tmp/js && npm install --silent --no-audit --no-fund --no-update-notifier ' +
    `--registry ${registry}/ bermtest >&2 && node -p "require('bermtest')"`), '42\n');
  assert.equal(await sh('rm -rf /tmp/apt && mkdir -p /tmp/apt/lists /tmp/apt/cache && cd /tmp/apt && ' +
    `echo 'deb [trusted=yes] ${registry}/deb ./' >list && APT='-q -o Dir::Etc::SourceList=/tmp/apt/list -o Dir::Etc::SourceParts=- ` +
    "-o Dir::State::Lists=/tmp/apt/lists -o Dir::Cache=/tmp/apt/cache -o APT::Sandbox::User=root' && " +
    'apt-get $APT update >&2 && apt-get $APT download bermtest >&2 && dpkg-deb --fsys-tarfile bermtest_1.0_all.deb | tar xO ./usr/share/bermtest/value'), '42\n');
}
