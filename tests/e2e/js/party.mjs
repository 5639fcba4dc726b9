// What the programs of relying parties share: their facts, their modules, and a person in front of a browser, who is the test.
//
//   node SCRIPT '{"modules": <folder of node_modules>, "scenario": <one of the script>, "issuer": <the server>, ...}'

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

export const facts = JSON.parse(process.argv[2]);
export const issuer = new URL(facts.issuer);

const resolve = createRequire(join(facts.modules, 'package.json')).resolve;
export const module = (name) => import(pathToFileURL(resolve(name)));

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (what, value) => process.stdout.write(`${JSON.stringify({ [what]: value })}\n`);

// What a person does at an address, and the address where that leaves their browser.
export async function person(does, url) {
  say(does, String(url));
  return new URL((await lines.next()).value);
}

// Plays the scenario that was asked for; what it returns is told to the test.
export async function play(scenarios) {
  say('found', (await scenarios[facts.scenario]()) ?? {});
  process.exit(0);
}

// Whether something is refused, with this error of OAuth.
export const refused = (promise, error) => assert.rejects(promise, (thrown) => {
  assert.equal(thrown.error ?? thrown.cause?.error ?? thrown.code ?? thrown, error, thrown.stack);
  return true;
});

// What a JWT says, which nobody has verified.
export const payload = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
export const header = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url'));
