/* What listens in the sandbox, and the ways to it from outside: previews with a secret in their name, and tunnels. */
import { useRef } from 'preact/hooks';

import * as api from './api.js';
import { Button, Empty, Icon, Problem, useAction, usePoll } from './ui.jsx';

const POLL_MS = 4000;
const CONTROL_PORT = 3000;
const EGRESS_PORTS = 64998; /* from here on bermd itself listens in the sandbox, as a user that is nobody there */
const NOBODY = 65534;

/*
 * The ports of /proc/net/tcp and tcp6 that listen and are a program's of the sandbox. A line: number, address and port in
 * hex, the peer's, the state (0A), two queues, a timer, retransmissions, the user.
 */
function listening(text) {
  const lines = text.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F:]+ 0A [0-9A-F:]+ [0-9A-F:]+ [0-9A-F]+ +(\d+) /gm);
  const ports = [...lines].map(([, port, user]) => [parseInt(port, 16), Number(user)])
    .filter(([port, user]) => port >= 1024 && port !== CONTROL_PORT && !(port >= EGRESS_PORTS && user === NOBODY))
    .map(([port]) => port);
  return [...new Set(ports)].sort((a, b) => a - b);
}

async function look(id, signal) {
  const [text, previews, tunnels] = await Promise.all([
    api.capture(id, ['sh', '-c', 'cat /proc/net/tcp /proc/net/tcp6 2>/dev/null'], signal),
    api.listPorts(id, signal),
    api.listTunnels(id, signal),
  ]);
  return { listens: listening(text), previews: previews.ports, tunnels: tunnels.tunnels };
}

const Way = ({ kind, url, port, onClose }) => (
  <tr>
    <td>{kind}</td>
    <td class="number">{port}</td>
    <td class="url"><a href={url} target="_blank" rel="noopener noreferrer">{url}<Icon name="link" /></a></td>
    <td class="actions"><Button kind="quiet" icon="trash" label={`Close the ${kind} of port ${port}`} onClick={onClose} /></td>
  </tr>
);

export function Ports({ id, shown }) {
  const [state, error, again] = usePoll((signal) => (shown ? look(id, signal) : null), shown ? POLL_MS : 0, [id, shown]);
  const port = useRef();
  const [act, busy, actError] = useAction(async (action, ...args) => {
    await action(id, ...args);
    again();
  });
  const { listens = [], previews = [], tunnels = [] } = state ?? {};
  const of = (action) => act(action, Number(port.current.value));
  return (
    <div class="ports">
      <section class="card">
        <h2>Listening in the sandbox</h2>
        {state && listens.length === 0 && <Empty>Nothing listens on a port from 1024 up.</Empty>}
        <ul class="chips">
          {listens.map((number) => (
            <li key={number}>
              <strong>{number}</strong>
              <Button disabled={busy} onClick={() => act(api.exposePort, number)}>Preview</Button>
              <Button disabled={busy} onClick={() => act(api.openTunnel, number)}>Tunnel</Button>
            </li>
          ))}
        </ul>
        <form class="line" onSubmit={(event) => { event.preventDefault(); of(api.exposePort); }}>
          <input ref={port} type="number" min="1024" max="65535" aria-label="Port" placeholder="other port" required />
          <Button type="submit" disabled={busy}>Preview</Button>
          <Button disabled={busy} onClick={() => port.current.reportValidity() && of(api.openTunnel)}>Tunnel</Button>
        </form>
        <Problem error={actError ?? error} />
      </section>
      <section class="card scroll" tabIndex={0} aria-label="Open ways">
        <h2>Open from outside</h2>
        {state && previews.length + tunnels.length === 0 && <Empty>No preview and no tunnel.</Empty>}
        {previews.length + tunnels.length > 0 && (
          <table>
            <thead><tr><th>Kind</th><th class="number">Port</th><th>Address</th><th><span class="hidden">Actions</span></th></tr></thead>
            <tbody>
              {previews.map((way) => <Way key={`p${way.port}`} kind="preview" {...way} onClose={() => act(api.unexposePort, way.port)} />)}
              {tunnels.map((way) => <Way key={`t${way.port}`} kind="tunnel" {...way} onClose={() => act(api.closeTunnel, way.port)} />)}
            </tbody>
          </table>
        )}
      </section>
    </div>
  );
}
