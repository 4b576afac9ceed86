/* What is known about a sandbox besides its content, and what has happened to it. */
import * as api from './api.js';
import * as format from './format.js';
import { Problem, usePoll } from './ui.jsx';

const rows = (sandbox) => [
  ['Image', `${sandbox.image} (${sandbox.imageDigest.slice(0, 19)}…)`],
  ['Generation', sandbox.generation],
  ['Network', sandbox.network],
  ['Sleeps', sandbox.keepAlive ? 'never' : `after ${sandbox.sleepAfter} s without use`],
  ['Processes', `${sandbox.usage?.pids ?? '–'} of ${sandbox.limits.pids}`],
  ['Memory peak', format.bytes(sandbox.usage?.memoryPeakBytes)],
  ['Killed for memory', sandbox.usage?.oomKills ?? '–'],
  ['Environment', sandbox.env.join(', ') || '–'],
  ['Created', format.time(sandbox.createdAt)],
  ['Started', format.time(sandbox.startedAt)],
  ['Last used', format.time(sandbox.lastUsedAt)],
  ['Ended', sandbox.endReason ?? '–'],
];

export function Details({ id, sandbox, shown }) {
  const [answer, error] = usePoll((signal) => (shown ? api.listEvents(id, signal) : null), 0, [id, shown, sandbox.generation, sandbox.state]);
  return (
    <div class="details">
      <section class="card"><h2>Settings</h2>
        <dl>{rows(sandbox).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
      </section>
      <section class="card scroll" tabIndex={0} aria-label="Events"><h2>Events</h2>
        <Problem error={error} />
        <table>
          <thead><tr><th>Time</th><th>Event</th><th>Detail</th></tr></thead>
          <tbody>{(answer?.events ?? []).slice().reverse().map((event, i) => (
            <tr key={i}><td class="faint">{format.time(event.time)}</td><td>{event.event}</td><td>{event.detail ?? ''}</td></tr>
          ))}</tbody>
        </table>
      </section>
    </div>
  );
}
