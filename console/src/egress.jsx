/* The way out: what the sandbox may reach, how much it did, and what was refused. */
import { useState } from 'preact/hooks';

import * as api from './api.js';
import * as format from './format.js';
import { Button, Empty, Problem, useAction, usePoll } from './ui.jsx';

const POLL_MS = 3000;
const COUNTERS = [['connections', 'Connections'], ['openConnections', 'Open now'], ['deniedConnections', 'Refused'],
  ['failedConnections', 'Failed'], ['questions', 'DNS questions'], ['deniedQuestions', 'DNS refused']];

const words = (text) => text.split(/[\s,]+/).filter(Boolean);
/* "443" or "8000-8999": the API has one as a number, the other as text. */
const port = (text) => (/^\d+$/.test(text) ? Number(text) : text);
/* An entry that says more than its name is kept as it is, and found again by that name. */
const nameOf = (entry) => (typeof entry === 'object' ? entry.host ?? entry.cidr : entry);
const kept = (before = [], names) => names.map((name) => before.find((entry) => nameOf(entry) === name) ?? name);

/* The policy that the form says; what it has no field for (deny, methods, credentials) stays. */
function policyOf(form, before) {
  const data = new FormData(form);
  const lists = { hosts: kept(before.hosts, words(data.get('hosts'))), cidrs: kept(before.cidrs, words(data.get('cidrs'))), ports: words(data.get('ports')).map(port) };
  const policy = { ...before, mode: data.get('mode'), ...lists };
  for (const name of Object.keys(lists)) if (policy[name].length === 0) delete policy[name];
  return policy;
}

function Form({ policy, busy, onSave }) {
  const text = (list) => (list ?? []).map(nameOf).join(' ');
  return (
    <form class="grid" key={JSON.stringify(policy)} onSubmit={(event) => { event.preventDefault(); onSave(policyOf(event.currentTarget, policy)); }}>
      <label>What no list names
        <select name="mode"><option value="allow" selected={policy.mode === 'allow'}>passes</option><option value="deny" selected={policy.mode === 'deny'}>is refused</option></select>
      </label>
      <label>Ports<input name="ports" defaultValue={text(policy.ports)} placeholder="443 8000-8999" autocomplete="off" /></label>
      <label class="wide">Hosts<input name="hosts" defaultValue={text(policy.hosts)} placeholder="pypi.org *.debian.org" autocomplete="off" spellcheck={false} /></label>
      <label class="wide">Address ranges<input name="cidrs" defaultValue={text(policy.cidrs)} placeholder="192.0.2.0/24" autocomplete="off" spellcheck={false} /></label>
      <footer class="wide"><Button type="submit" kind="primary" disabled={busy}>Apply</Button></footer>
    </form>
  );
}

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
      <Form policy={egress.policy} busy={busy} onSave={(policy) => act(put(policy))} />
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
