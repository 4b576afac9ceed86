/* A daemon that knows a thousand sandboxes, and how long the console takes to list them. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';

import { Api } from '../lib/api.mjs';
import { Daemon } from '../lib/daemon.mjs';

/* Copies of the one sandbox in the store, asleep: what the registry and the list cost has nothing to do with running. */
const COPY = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
columns = [row[1] for row in db.execute('PRAGMA table_info(sandboxes)')]
row = dict(zip(columns, db.execute('SELECT * FROM sandboxes').fetchone()))
letters = 'abcdefghij'
for i in range(1, 1000):
    copy = dict(row, id='copy' + ''.join(letters[int(d)] for d in str(i)), seq=row['seq'] + i, key=0, state=2, event_count=0)
    db.execute(f"INSERT INTO sandboxes({','.join(columns)}) VALUES({','.join('?' * len(columns))})", [copy[c] for c in columns])
db.commit()
`;

export async function daemonWithAThousand() {
  const daemon = await new Daemon({ poolSize: 0 }).start();
  const api = new Api(daemon);
  await api.put('/v1/sandbox/original', { labels: { team: 'a', stage: 'test' } });
  api.close();
  await daemon.end();
  execFileSync('python3', ['-c', COPY, path.join(daemon.data, 'state/berm.db')]);
  return daemon.start();
}

/* In milliseconds, from the click to the rows in the page, the request included. */
export async function openList(page, daemon) {
  await page.goto(`http://localhost:${daemon.port}/#/s/original/details`);
  await page.getByRole('heading', { name: 'Settings' }).waitFor();
  return page.evaluate(() => new Promise((resolve) => {
    const from = performance.now();
    const observer = new MutationObserver(() => {
      if (document.querySelectorAll('[role=row] a').length < 8) return;
      observer.disconnect();
      requestAnimationFrame(() => resolve(performance.now() - from));
    });
    observer.observe(document.body, { childList: true, subtree: true });
    location.hash = '#/';
  }));
}
