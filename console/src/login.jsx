import { useRef } from 'preact/hooks';

import * as api from './api.js';
import { Button, Logo, Problem, useAction } from './ui.jsx';

export function Login({ onLogin }) {
  const key = useRef();
  const [run, busy, error] = useAction(async () => {
    await api.login(key.current.value);
    onLogin();
  });
  return (
    <main class="login">
      <form class="card" onSubmit={(event) => { event.preventDefault(); run(); }}>
        <h1><Logo />Berm</h1>
        <label for="key">API key</label>
        <input id="key" ref={key} type="password" autocomplete="current-password" required autoFocus placeholder="berm_…" />
        <Problem error={error} />
        <Button type="submit" kind="primary" disabled={busy}>Log in</Button>
        <p class="hint">A key is made with <code>berm key add</code>. It is not kept in this browser: what stays is a cookie
          that scripts cannot read and that ends after twelve hours.</p>
      </form>
    </main>
  );
}
