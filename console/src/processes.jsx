/* The processes that were started in the background, with logs that follow. */
import { useEffect, useRef, useState } from 'preact/hooks';

import * as api from './api.js';
import * as format from './format.js';
import { Button, Empty, Problem, useAction, usePoll } from './ui.jsx';

const LIST_MS = 3000;
const LOG_MAX = 512 * 1024; /* characters that are shown */

/* Appends to a <pre> as text, forgets the beginning of what is long, and stays at the end if one was there. */
function writer(element) {
  let shown = 0;
  let waiting = [];
  function flush() {
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    const piece = document.createElement('span');
    for (const [kind, text] of waiting) {
      const part = document.createElement('span');
      part.className = kind;
      part.textContent = format.plain(text);
      shown += part.textContent.length;
      piece.append(part);
    }
    waiting = [];
    element.append(piece);
    while (shown > LOG_MAX && element.childNodes.length > 1) {
      shown -= element.firstChild.textContent.length;
      element.firstChild.remove();
    }
    if (atEnd) element.scrollTop = element.scrollHeight;
  }
  return (kind, text) => {
    if (waiting.length === 0) requestAnimationFrame(flush);
    waiting.push([kind, text]);
  };
}

function Log({ id, process }) {
  const box = useRef();
  const [error, setError] = useState(null);
  useEffect(() => {
    const abort = new AbortController();
    box.current.replaceChildren();
    const write = writer(box.current);
    (async () => {
      for await (const { data } of api.processEvents(id, process, abort.signal)) {
        const event = JSON.parse(data);
        if (event.type === 'stdout' || event.type === 'stderr') write(event.type, event.data);
        else if (event.type === 'exit') write('end', `\n— ended with ${event.exitCode ?? 'no exit code'}\n`);
        else if (event.type === 'truncated') write('end', `\n— ${format.bytes(event.bytes)} of ${event.stream} are not kept\n`);
      }
    })().catch((problem) => problem.name !== 'AbortError' && setError(problem));
    return () => abort.abort();
  }, [id, process]);
  return (
    <>
      <Problem error={error} />
      <pre class="log" ref={box} tabIndex={0} role="log" aria-label={`Output of ${process}`} />
    </>
  );
}

export function Processes({ id, shown }) {
  const [list, error, again] = usePoll((signal) => (shown ? api.listProcesses(id, signal) : null), shown ? LIST_MS : 0, [id, shown]);
  const [selected, select] = useState(null);
  const command = useRef();
  const [start, starting, startError] = useAction(async () => {
    const { processId } = await api.startProcess(id, command.current.value);
    command.current.value = '';
    select(processId);
    again();
  });
  const [kill, , killError] = useAction(async (process) => {
    await api.killProcess(id, process);
    again();
  });
  const processes = list?.processes ?? [];
  return (
    <div class="processes">
      <form class="card line" onSubmit={(event) => { event.preventDefault(); start(); }}>
        <input ref={command} class="mono" aria-label="Command" placeholder="a command to run in the background" required autocomplete="off" spellcheck={false} />
        <Button type="submit" kind="primary" icon="play" disabled={starting}>Start</Button>
      </form>
      <Problem error={startError ?? killError ?? error} />
      <div class="split">
        <div class="card scroll" tabIndex={0} role="region" aria-label="Processes">
          {list && processes.length === 0 && <Empty>Nothing was started in the background.</Empty>}
          {processes.length > 0 && (
            <table>
              <thead><tr><th>Command</th><th>State</th><th>Age</th><th><span class="hidden">Actions</span></th></tr></thead>
              <tbody>{processes.map((process) => (
                <tr key={process.id} class={process.id === selected ? 'selected' : ''}>
                  <td><button type="button" class="plain mono" aria-pressed={process.id === selected} onClick={() => select(process.id)}>{process.command}</button></td>
                  <td><span class={`state ${process.status}`}>{process.status}{process.exitCode ? ` ${process.exitCode}` : ''}</span></td>
                  <td class="faint">{format.age(process.startTime)}</td>
                  <td class="actions">{process.status === 'running' &&
                    <Button kind="quiet" icon="stop" label={`Kill ${process.command}`} onClick={() => kill(process.id)} />}</td>
                </tr>
              ))}</tbody>
            </table>
          )}
        </div>
        <div class="card follow">{selected ? <Log key={selected} id={id} process={selected} /> : <Empty>Choose a process to follow its output.</Empty>}</div>
      </div>
    </div>
  );
}
