/* The list by libberm: tests/tools/list_driver.c. */
import { execFileSync } from 'node:child_process';

import { built } from '../../cli/program.mjs';
import { program } from './lines.mjs';

export function libberm(url) {
  const driver = built('list_driver', 'tests/tools');
  const names = execFileSync(driver, ['--ops'], { encoding: 'utf8' }).trim().split('\n');
  const differs = {
    'a session that exits is told, and begins anew': 'the status of the shell is that of the command',
    'an id of a session is there once': 'the code is session_error, as the bridge has it',
  };
  const aliases = { workspace_read_not_found: 'FILE_NOT_FOUND' }; /* of the bridge's file route */
  const absent = { execOnce: 'no field for a key' };
  return { name: 'libberm', absent, differs, aliases, ...program(driver, [url], names) };
}
