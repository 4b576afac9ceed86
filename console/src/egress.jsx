/* The way out: what the sandbox may reach, how much it did, and what was refused. */
import { useState } from 'preact/hooks';

import * as api from './api.js';
import * as format from './format.js';
import { Button, Empty, Problem, useAction, usePoll } from './ui.jsx';

const POLL_MS = 3000;
const COUNTERS = [['connections', 'Connections'], ['openConnections', 'Open now'], ['deniedConnections', 'Refused'],
  ['failedConnections', 'Failed'], ['questions', 'DNS questions'], ['deniedQuestions', 'DNS refused']];

function Policy({ id, egress, onChange }) {
  const [text, setText] = useState(null);
  const [act, busy, error] = useAction(async (action) => {
    await action();
    setText(null);
    onChange();
  });
  const put = (policy) => () => api.putEgress(id, policy);
  return (
    <section class="card">
      <h2>Policy{egress.isDefault && <span class="faint"> · the operator's default</span>}</h2>
      <div class="line">
        <Button disabled={busy} onClick={() => act(put({ mode: 'allow' }))}>Allow the internet</Button>
        <Button disabled={busy} onClick={() => act(put({ mode: 'deny' }))}>Deny all</Button>
        <Button disabled={busy || egress.isDefault} onClick={() => act(() => api.resetEgress(id))}>Default</Button>
      </div>
      <textarea class="mono" aria-label="Policy as JSON" rows={8} spellcheck={false} value={text ?? JSON.stringify(egress.policy, null, 2)}
        onInput={(event) => setText(event.target.value)} />
      <Problem error={error} />
      {text !== null && (
        <div class="line">
          <Button kind="primary" disabled={busy} onClick={() => act(() => api.putEgress(id, JSON.parse(text)))}>Save</Button>
          <Button onClick={() => setText(null)}>Discard</Button>
        </div>
      )}
    </section>
  );
}

const Denial = ({ denial }) => (
  <tr>
    <td class="faint">{format.clock(denial.time)}</td>
    <td>{denial.what}</td>
    <td>{denial.host ?? denial.address ?? '–'}{denial.port ? `:${denial.port}` : ''}</td>
    <td>{denial.reason}</td>
  </tr>
);

export function Egress({ id, shown }) {
  const [egress, error, again] = usePoll((signal) => (shown ? api.getEgress(id, signal) : null), shown ? POLL_MS : 0, [id, shown]);
  if (!egress) return <Problem error={error} />;
  if (egress.network === 'none') return <div class="card"><Empty>This sandbox has no network but its own loopback.</Empty></div>;
  return (
    <div class="egress">
      <Problem error={error} />
      <dl class="counters card">
        {COUNTERS.map(([name, title]) => <div key={name}><dt>{title}</dt><dd>{egress.counters[name]}</dd></div>)}
        <div><dt>Sent</dt><dd>{format.bytes(egress.counters.bytesOut)}</dd></div>
        <div><dt>Received</dt><dd>{format.bytes(egress.counters.bytesIn)}</dd></div>
      </dl>
      <Policy id={id} egress={egress} onChange={again} />
      <section class="card scroll" tabIndex={0} aria-label="What was refused">
        <h2>Refused lately</h2>
        {egress.denied.length === 0 && <Empty>Nothing was refused in this run.</Empty>}
        {egress.denied.length > 0 && (
          <table>
            <thead><tr><th>Time</th><th>What</th><th>Where to</th><th>Why</th></tr></thead>
            <tbody>{egress.denied.slice().reverse().map((denial, i) => <Denial key={i} denial={denial} />)}</tbody>
          </table>
        )}
      </section>
    </div>
  );
}
