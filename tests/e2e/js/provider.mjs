// An OpenID Connect provider that nobody here wrote, with the people of a file. It reads that file at every question, and
// keeps its keys and whatever it issued in others, so that it can be stopped and started again.
//
//   node provider.mjs <folder of node_modules> <folder of its state> <port> <seconds by which its clock is ahead>

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, folder, port, skew] = process.argv.slice(2);
const now = Date.now;
Date.now = () => now() + Number(skew) * 1000;

const found = createRequire(join(modules, 'package.json')).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(found));

const read = (name, otherwise) => {
  const file = join(folder, name);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : otherwise;
};
const write = (name, value) => {
  writeFileSync(join(folder, `${name}.new`), JSON.stringify(value));
  renameSync(join(folder, `${name}.new`), join(folder, name));
};

// What it issued, in one file.
const issued = read('issued.json', {});
class Kept {
  constructor(kind) { this.kind = kind; }
  key(id) { return `${this.kind}:${id}`; }
  async upsert(id, payload, expiresIn) {
    issued[this.key(id)] = { payload, expires: expiresIn ? now() + expiresIn * 1000 : undefined };
    write('issued.json', issued);
  }
  async find(id) {
    const row = issued[this.key(id)];
    return row && (!row.expires || row.expires > now()) ? row.payload : undefined;
  }
  async findBy(name, value) {
    const row = Object.entries(issued).find(([key, row]) => key.startsWith(`${this.kind}:`) && row.payload[name] === value);
    return row?.[1].payload;
  }
  async findByUid(uid) { return this.findBy('uid', uid); }
  async findByUserCode(code) { return this.findBy('userCode', code); }
  async consume(id) {
    issued[this.key(id)].payload.consumed = Math.floor(now() / 1000);
    write('issued.json', issued);
  }
  async destroy(id) {
    delete issued[this.key(id)];
    write('issued.json', issued);
  }
  async revokeByGrantId(grant) {
    for (const [key, row] of Object.entries(issued)) if (row.payload.grantId === grant) delete issued[key];
    write('issued.json', issued);
  }
}

let keys = read('keys.json');
if (!keys) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: randomBytes(6).toString('hex') };
  keys = [key];
  write('keys.json', keys);
}

const settings = read('settings.json');
const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: Kept,
  jwks: { keys },
  cookies: { keys: ['not a secret'] },
  clients: [settings.client],
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: { openid: ['sub'], profile: ['preferred_username', 'name'], email: ['email', 'email_verified'], groups: ['groups'] },
  rotateRefreshToken: true,
  // A person signs in with their name there, and any password.
  async findAccount(_, id) {
    const person = read('people.json')[id];
    return person && { accountId: id, claims: async () => ({ sub: `subject-of-${id}`, ...person }) };
  },
});
// Each use of a refresh token, so that one that comes twice is seen.
provider.on('grant.success', (ctx) => console.log(`granted ${ctx.oidc.params.grant_type}`));
provider.on('grant.error', (ctx, error) => console.log(`refused ${ctx.oidc?.params?.grant_type} ${error.error_description}`));
provider.on('server_error', (_, error) => console.log(error.stack));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
