/* The frame around the pages: where one is (in the address after #), who is logged in, dark or light. */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import * as api from './api.js';
import { List } from './list.jsx';
import { Login } from './login.jsx';
import { Sandbox } from './sandbox.jsx';
import { onTheme, theme, toggleTheme } from './theme.js';
import { Button, Logo, Problem } from './ui.jsx';
import './style.css';

/* "#/s/<id>/<tab>" */
function place() {
  const [page, id, tab] = location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  return page === 's' && id ? { id, tab: tab || 'terminal' } : {};
}

function usePlace() {
  const [at, set] = useState(place);
  useEffect(() => {
    const change = () => set(place());
    addEventListener('hashchange', change);
    return () => removeEventListener('hashchange', change);
  }, []);
  return at;
}

function ThemeButton() {
  const [now, set] = useState(theme);
  useEffect(() => onTheme(set), []);
  const next = now === 'dark' ? 'light' : 'dark';
  return <Button kind="quiet" icon={now === 'dark' ? 'sun' : 'moon'} label={`Switch to ${next}`} onClick={toggleTheme} />;
}

function App() {
  const [login, setLogin] = useState(null);
  const [error, setError] = useState(null);
  const at = usePlace();

  const ask = () => api.loginState().then(setLogin, setError);
  useEffect(() => {
    api.setUnauthorized(() => setLogin((old) => (old?.required ? { required: true, loggedIn: false } : old)));
    ask();
  }, []);
  useEffect(() => {
    document.title = at.id ? `${at.id} · Berm` : 'Berm';
  }, [at.id]);

  if (error) return <main class="login"><Problem error={error} /></main>;
  if (!login) return null;
  if (!login.loggedIn) return <Login onLogin={ask} />;
  return (
    <>
      <header class="top">
        <a class="home" href="#/"><Logo />Berm</a>
        <span class="spring" />
        <ThemeButton />
        {login.required && <Button kind="quiet" icon="out" label="Log out" onClick={() => api.logout().then(ask, setError)} />}
      </header>
      {at.id ? <Sandbox key={at.id} id={at.id} tab={at.tab} /> : <List />}
    </>
  );
}

render(<App />, document.getElementById('app'));
