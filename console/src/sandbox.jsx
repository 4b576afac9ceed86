/* One sandbox: what it uses, and what can be done in it. */
import { useEffect, useState } from 'preact/hooks';

import * as api from './api.js';
import { Details } from './details.jsx';
import { Egress } from './egress.jsx';
import { Files } from './files.jsx';
import * as format from './format.js';
import { Notebook } from './notebook.jsx';
import { Ports } from './ports.jsx';
import { Processes } from './processes.jsx';
import { TerminalPanel } from './terminal.jsx';
import { Button, Confirm, Labels, Plot, Problem, State, Tabs, useAction, usePoll } from './ui.jsx';
import { usageOf } from './usage.js';

const USAGE_MS = 2000;

/* [name, text, component, whether it works in the sandbox and so needs it to run] */
const TABS = [
  ['terminal', 'Terminal', TerminalPanel, true],
  ['files', 'Files', Files, true],
  ['processes', 'Processes', Processes, true],
  ['notebook', 'Notebook', Notebook, true],
  ['ports', 'Ports', Ports, true],
  ['egress', 'Egress', Egress, false],
  ['details', 'Details', Details, false],
];

function Stat({ name, value, of, values, top }) {
  return (
    <div class="stat card">
      <h2>{name}</h2>
      <p><strong>{value}</strong>{of && <span class="faint"> of {of}</span>}</p>
      <Plot values={values} top={top} label={`${name}: ${value}`} />
    </div>
  );
}

function Stats({ sandbox, usage }) {
  const { limits } = sandbox;
  const { now } = usage;
  return (
    <div class="stats">
      <Stat name="CPU" value={format.percent(now.cpu)} of={`${limits.cpuMillis / 1000} CPU`} values={usage.series('cpu')} top={limits.cpuMillis / 10} />
      <Stat name="Memory" value={format.bytes(now.memory)} of={format.bytes(limits.memoryBytes)} values={usage.series('memory')} top={limits.memoryBytes} />
      <Stat name="Disk" value={format.bytes(now.disk)} of={format.bytes(limits.diskBytes)} values={usage.series('disk')} top={limits.diskBytes} />
      <Stat name="Network" value={now.received === undefined || now.received === null ? '–' : `↓ ${format.rate(now.received)}  ↑ ${format.rate(now.sent)}`}
        values={usage.series('network')} />
    </div>
  );
}

function Start({ sandbox, onStarted }) {
  const [run, busy, error] = useAction(async () => {
    await api.putSandbox(sandbox.id);
    onStarted();
  });
  return (
    <div class="start card">
      <p>This sandbox is {sandbox.state}{sandbox.endReason ? ` (${sandbox.endReason})` : ''}. Starting it gives it a fresh disk.</p>
      <Problem error={error} />
      <Button kind="primary" icon="play" disabled={busy} onClick={run}>Start</Button>
    </div>
  );
}

export function Sandbox({ id, tab }) {
  const [asks, setAsks] = useState(false);
  const [opened, setOpened] = useState([tab]);
  const [sandbox, error, again] = usePoll(async (signal) => {
    const answer = await api.getSandbox(id, signal);
    usageOf(id).add(answer);
    return answer;
  }, USAGE_MS, [id]);

  /* Panels stay once they have been opened: a terminal goes on, a half-written cell is not lost. */
  useEffect(() => setOpened((old) => (old.includes(tab) ? old : [...old, tab])), [tab]);

  if (error?.status === 404) {
    return (
      <main class="sandbox">
        <p class="crumb"><a href="#/">Sandboxes</a></p>
        <h1>{id}</h1>
        <p>There is no such sandbox.</p>
      </main>
    );
  }
  if (!sandbox) return <main class="sandbox"><Problem error={error} /></main>;
  const runs = sandbox.state === 'running';
  return (
    <main class="sandbox">
      <div class="bar">
        <h1><a class="crumb" href="#/" aria-label="All sandboxes">Sandboxes</a><span aria-hidden="true" class="faint"> / </span>{sandbox.name ?? id}</h1>
        <State state={sandbox.state} />
        <span class="labels">{sandbox.name && <span class="faint">{id}</span>}<Labels labels={sandbox.labels} /></span>
        <span class="spring" />
        <Button kind="danger" icon="trash" onClick={() => setAsks(true)}>Destroy</Button>
      </div>
      <Problem error={error} />
      <Stats sandbox={sandbox} usage={usageOf(id)} />
      <Tabs tabs={TABS} current={tab} label="Parts of the sandbox" onSelect={(name) => { location.replace(`#/s/${id}/${name}`); }} />
      {TABS.map(([name, , Panel, needsRun]) => (opened.includes(name) || name === tab) && (
        <section key={name} id={`panel-${name}`} role="tabpanel" aria-labelledby={`tab-${name}`} class={`panel ${name}`} hidden={name !== tab}>
          {runs || !needsRun
            ? <Panel key={needsRun ? sandbox.generation : name} id={id} sandbox={sandbox} shown={name === tab} />
            : <Start sandbox={sandbox} onStarted={again} />}
        </section>
      ))}
      {asks && (
        <Confirm title="Destroy the sandbox?" verb="Destroy" onClose={() => setAsks(false)}
          text={`${id}, its processes and its files will be gone.`}
          action={async () => { await api.deleteSandbox(id); location.hash = '#/'; }} />
      )}
    </main>
  );
}
