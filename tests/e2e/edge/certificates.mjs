/* Self-signed certificates for tests, made with the openssl program. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/* Writes NAME.pem, certificate and key in one file, and gives its path. */
export function makeCertificate(directory, name, names) {
  const file = path.join(directory, `${name}.pem`);
  const key = `${file}.key`;
  const alternatives = names.map((one) => (/^[\d.]+$/.test(one) ? `IP:${one}` : `DNS:${one}`)).join(',');
  const certificate = execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
    '-days', '2', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${alternatives}`, '-keyout', key], { stdio: ['ignore', 'pipe', 'ignore'] });
  /* Replaced at once, as tools that renew certificates do. */
  fs.writeFileSync(`${file}.new`, Buffer.concat([certificate, fs.readFileSync(key)]));
  fs.rmSync(key);
  fs.renameSync(`${file}.new`, file);
  return file;
}
