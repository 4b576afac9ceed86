/* A terminal of the sandbox, over a WebSocket. The one of the session "console" goes on when the page is left. */
import { useEffect, useRef, useState } from 'preact/hooks';

import * as api from './api.js';
import { onTheme } from './theme.js';
import { Button } from './ui.jsx';

const FONT = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';

/* The terminal takes colours as values: those of the page, resolved. */
function colours(element) {
  const probe = document.createElement('i');
  element.append(probe);
  const resolve = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const theme = { background: resolve('--sunken'), foreground: resolve('--text'), cursor: resolve('--accent'),
    cursorAccent: resolve('--sunken'), selectionBackground: resolve('--selection') };
  probe.remove();
  return theme;
}

function connect(id, { terminal, fit }, tell) {
  fit.fit();
  const socket = new WebSocket(api.terminalUrl(id, terminal.cols, terminal.rows));
  const encoder = new TextEncoder();
  const send = (message) => socket.readyState === WebSocket.OPEN && socket.send(message);
  let last = 'The connection is lost.';
  socket.binaryType = 'arraybuffer';
  socket.onmessage = ({ data }) => {
    if (typeof data !== 'string') {
      terminal.write(new Uint8Array(data));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === 'ready') tell('ready');
    if (message.type === 'exit') last = `The shell has ended (${message.signal ?? message.code}).`;
    if (message.type === 'error') last = String(message.message);
  };
  socket.onclose = () => tell(last);
  const handlers = [
    terminal.onData((text) => send(encoder.encode(text))),
    terminal.onBinary((text) => send(Uint8Array.from(text, (c) => c.charCodeAt(0)))),
    terminal.onResize(({ cols, rows }) => send(JSON.stringify({ type: 'resize', cols, rows }))),
  ];
  return () => {
    for (const handler of handlers) handler.dispose();
    socket.onclose = null;
    socket.close();
  };
}

export function TerminalPanel({ id, shown }) {
  const box = useRef();
  const opened = useRef(null);
  const [attempt, setAttempt] = useState(0);
  const [status, setStatus] = useState('');

  useEffect(() => {
    let ended = false;
    let disconnect;
    let forget;
    let observer;
    (async () => {
      const { openTerminal } = await import('./xterm.js');
      if (ended) return;
      opened.current ??= openTerminal(box.current, { fontFamily: FONT, theme: colours(box.current) });
      const { terminal, fit } = opened.current;
      forget = onTheme(() => { terminal.options.theme = colours(box.current); });
      observer = new ResizeObserver(() => box.current?.offsetWidth && fit.fit());
      observer.observe(box.current);
      terminal.reset();
      disconnect = connect(id, opened.current, setStatus);
      terminal.focus();
    })();
    return () => {
      ended = true;
      disconnect?.();
      forget?.();
      observer?.disconnect();
    };
  }, [id, attempt]);
  useEffect(() => () => opened.current?.terminal.dispose(), []);
  useEffect(() => {
    if (shown) opened.current?.terminal.focus();
  }, [shown]);

  const lost = status && status !== 'ready';
  return (
    <>
      {lost && <p class="note" role="status">{status} <Button icon="refresh" onClick={() => { setStatus(''); setAttempt(attempt + 1); }}>Connect again</Button></p>}
      <div class="screen card" data-status={status === 'ready' ? 'ready' : 'not-ready'}><div ref={box} /></div>
    </>
  );
}
