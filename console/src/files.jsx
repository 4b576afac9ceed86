/* The files: a directory at a time, a text editor, upload and download. */
import { useEffect, useRef, useState } from 'preact/hooks';

import * as api from './api.js';
import * as format from './format.js';
import { Button, Confirm, Dialog, Empty, Icon, Problem, useAction } from './ui.jsx';

const TEXT_MAX = 1 << 20;
const WORKSPACE = '/workspace';

const join = (directory, name) => `${directory === '/' ? '' : directory}/${name}`;
const inWorkspace = (path) => path.startsWith(`${WORKSPACE}/`);

const sorted = (files) => files.slice().sort((a, b) =>
  (b.type === 'directory') - (a.type === 'directory') || (a.name < b.name ? -1 : 1));

/* Every part of a path, each with the way to it. */
function parts(path) {
  const names = path.split('/').filter(Boolean);
  return [['/', '/'], ...names.map((name, i) => [name, `/${names.slice(0, i + 1).join('/')}`])];
}

async function download(id, path) {
  const link = document.createElement('a');
  let url;
  if (inWorkspace(path)) {
    link.href = api.filePath(id, path);
  } else {
    const { content } = await api.readFile(id, path, 'base64');
    url = URL.createObjectURL(new Blob([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))]));
    link.href = url;
  }
  link.download = path.slice(path.lastIndexOf('/') + 1);
  link.click();
  if (url) setTimeout(() => URL.revokeObjectURL(url), 60000);
}

async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

const upload = async (id, path, file) =>
  inWorkspace(path) ? api.uploadFile(id, path, file) : api.writeFile(id, path, await base64(file), 'base64');

/* --- the editor --- */

function Editor({ id, path, onClose, onDirty }) {
  const [file, setFile] = useState(null);
  const [text, setText] = useState('');
  const [saved, setSaved] = useState('');
  const [load, , loadError] = useAction(async () => {
    const answer = await api.readFile(id, path);
    setFile(answer);
    setText(answer.isBinary ? '' : answer.content);
    setSaved(answer.isBinary ? '' : answer.content);
  });
  const [save, saving, saveError] = useAction(async () => {
    await api.writeFile(id, path, text);
    setSaved(text);
  });
  useEffect(() => { load(); }, [path]);
  const dirty = text !== saved;
  useEffect(() => onDirty(dirty), [dirty]);

  const keys = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === 's') {
      event.preventDefault();
      save();
    }
  };
  return (
    <div class="editor card">
      <header>
        <h2>{path.slice(path.lastIndexOf('/') + 1)}{dirty && <span class="faint"> · not saved</span>}</h2>
        <span class="spring" />
        <Button icon="download" label="Download" kind="quiet" onClick={() => download(id, path)} />
        <Button kind="primary" disabled={!dirty || saving} onClick={save}>Save</Button>
        <Button icon="close" label="Close the file" kind="quiet" onClick={onClose} />
      </header>
      <Problem error={loadError ?? saveError} />
      {file?.isBinary && <Empty>{file.mimeType}, {format.bytes(file.size)}: not a text.</Empty>}
      {file && !file.isBinary && (
        <textarea aria-label={`Content of ${path}`} spellcheck={false} value={text} wrap="off" onKeyDown={keys}
          onInput={(event) => setText(event.target.value)} />
      )}
    </div>
  );
}

/* --- dialogs --- */

function Ask({ title, label, value = '', verb, action, onClose }) {
  const input = useRef();
  const [run, busy, error] = useAction(async () => {
    await action(input.current.value);
    onClose();
  });
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="grid" onSubmit={(event) => { event.preventDefault(); run(); }}>
        <label class="wide">{label}<input ref={input} required autoFocus defaultValue={value} autocomplete="off" /></label>
        <Problem error={error} />
        <footer class="wide"><Button onClick={onClose}>Cancel</Button><Button type="submit" kind="primary" disabled={busy}>{verb}</Button></footer>
      </form>
    </Dialog>
  );
}

/* --- the directory --- */

function Entry({ file, path, onOpen, onDialog, id }) {
  const full = join(path, file.name);
  const opens = file.type !== 'other';
  return (
    <tr>
      <td>
        <Icon name={file.type === 'directory' ? 'folder' : 'file'} />
        {opens ? <button type="button" class="plain" onClick={() => onOpen(file, full)}>{file.name}</button> : file.name}
      </td>
      <td class="number">{file.type === 'file' ? format.bytes(file.size) : ''}</td>
      <td class="wide-only faint">{file.mode}</td>
      <td class="wide-only faint">{file.modifiedAt.slice(0, 16).replace('T', ' ')}</td>
      <td class="actions">
        {file.type === 'file' && <Button kind="quiet" icon="download" label={`Download ${file.name}`} onClick={() => download(id, full)} />}
        <Button kind="quiet" icon="trash" label={`Delete ${file.name}`} onClick={() => onDialog({ remove: full })} />
      </td>
    </tr>
  );
}

export function Files({ id }) {
  const [path, setPath] = useState(WORKSPACE);
  const [files, setFiles] = useState(null);
  const [open, setOpen] = useState(null);
  const [dirty, setDirty] = useState(false);
  const [dialog, setDialog] = useState(null);
  const picker = useRef();

  const [load, , error] = useAction(async (to) => {
    const answer = await api.listFiles(id, to);
    setFiles(sorted(answer.files));
    setPath(to);
  });
  useEffect(() => { load(WORKSPACE); }, []);
  const [send, sending, sendError] = useAction(async (list) => {
    for (const file of list) await upload(id, join(path, file.name), file);
    await load(path);
  });

  const openFile = (full) => {
    if (!dirty || open === full) setOpen(full);
    else setDialog({ leave: full });
  };
  const onOpen = (file, full) => {
    if (file.type === 'directory') load(full);
    else if (file.type === 'symlink') load(`${full}/`);
    else if (file.size > TEXT_MAX) download(id, full);
    else openFile(full);
  };
  const drop = (event) => {
    event.preventDefault();
    send([...event.dataTransfer.files]);
  };

  return (
    <div class={`files ${open ? 'with-editor' : ''}`} onDragOver={(event) => event.preventDefault()} onDrop={drop}>
      <div class="directory card">
        <header>
          <nav aria-label="Path" class="path">
            {parts(path).map(([name, to], i, all) => (
              <span key={to}>{i > 1 && '/'}<button type="button" class="plain" aria-current={i === all.length - 1 ? 'location' : undefined} onClick={() => load(to)}>{name}</button></span>
            ))}
          </nav>
          <span class="spring" />
          <Button kind="quiet" icon="refresh" label="Read again" onClick={() => load(path)} />
          <Button icon="file" label="New file" onClick={() => setDialog({ file: true })} />
          <Button icon="folder" label="New directory" onClick={() => setDialog({ directory: true })} />
          <Button icon="upload" disabled={sending} onClick={() => picker.current.click()}>Upload</Button>
          <input ref={picker} type="file" multiple hidden aria-label="Files to upload" onChange={(event) => { send([...event.target.files]); event.target.value = ''; }} />
        </header>
        <Problem error={error ?? sendError} />
        {files && files.length === 0 && <Empty>This directory is empty. Files can be dropped here.</Empty>}
        {files && files.length > 0 && (
          <div class="scroll" tabIndex={0} role="region" aria-label="Files of the directory">
            <table>
              <thead><tr><th>Name</th><th class="number">Size</th><th class="wide-only">Mode</th><th class="wide-only">Changed</th><th><span class="hidden">Actions</span></th></tr></thead>
              <tbody>{files.map((file) => <Entry key={file.name} id={id} file={file} path={path} onOpen={onOpen} onDialog={setDialog} />)}</tbody>
            </table>
          </div>
        )}
      </div>
      {open && <Editor key={open} id={id} path={open} onDirty={setDirty} onClose={() => (dirty ? setDialog({ leave: null, close: true }) : setOpen(null))} />}
      {dialog?.file && <Ask title="New file" label="Name" verb="Create" onClose={() => setDialog(null)}
        action={async (name) => { await api.writeFile(id, join(path, name), ''); await load(path); openFile(join(path, name)); }} />}
      {dialog?.directory && <Ask title="New directory" label="Name" verb="Create" onClose={() => setDialog(null)}
        action={async (name) => { await api.makeDirectory(id, join(path, name)); await load(path); }} />}
      {dialog?.remove && <Confirm title="Delete the file?" verb="Delete" text={`${dialog.remove} will be gone.`} onClose={() => setDialog(null)}
        action={async () => { await api.deleteFile(id, dialog.remove); if (open === dialog.remove) setOpen(null); await load(path); }} />}
      {dialog && 'leave' in dialog && <Confirm title="Leave without saving?" verb="Leave" text={`What was changed in ${open} will be lost.`} onClose={() => setDialog(null)}
        action={async () => { setDirty(false); setOpen(dialog.leave); }} />}
    </div>
  );
}
