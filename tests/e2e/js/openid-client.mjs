// Relying parties that are written with openid-client, as its manual says.

import assert from 'node:assert/strict';
import { facts, header, issuer, module, payload, person, play, refused } from './party.mjs';

const client = await module('openid-client');
const { secrets, callback, api } = facts;
const insecure = { execute: [client.allowInsecureRequests] };

const discover = (id, authentication, metadata = {}) =>
  client.discovery(issuer, id, metadata, authentication, insecure);
const web = () => discover('web', client.ClientSecretBasic(secrets.web));
const tv = () => discover('tv', client.None());

// Sends a person to the server, and redeems what they come back with.
async function signIn(config, more = {}, { pushed = false, expects = {} } = {}) {
  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const request = {
    redirect_uri: callback,
    scope: 'openid profile email orders:read',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...more,
  };
  const build = pushed ? client.buildAuthorizationUrlWithPAR : client.buildAuthorizationUrl;
  const asked = await build(config, request);
  const answer = await person('authorize', asked);
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true, ...expects };
  return { asked, answer, checks, tokens: await client.authorizationCodeGrant(config, answer, checks) };
}

const is = (token, algorithm, typ) => {
  assert.deepEqual([header(token).alg, header(token).typ], [algorithm, typ]);
  assert.ok(header(token).kid);
};

await play({
  async code() {
    const config = await web();
    const { answer, checks, tokens } = await signIn(config);
    assert.equal(answer.searchParams.get('iss'), facts.issuer);
    const claims = tokens.claims();
    assert.deepEqual([claims.sub, claims.aud, claims.name, claims.email], ['ada', 'web', 'Ada L.', 'ada@example.org']);
    is(tokens.id_token, 'ES256', 'JWT');
    is(tokens.access_token, 'ES256', 'at+jwt');
    assert.deepEqual([tokens.token_type, tokens.scope.split(' ').sort().join(' ')], ['bearer', 'email openid orders:read profile']);
    const info = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
    assert.deepEqual([info.sub, info.name, info.email, info.preferred_username], ['ada', 'Ada L.', 'ada@example.org', 'ada']);
    // The same code again gives nothing, and takes away what it gave.
    await refused(client.authorizationCodeGrant(config, answer, checks), 'invalid_grant');
    await refused(client.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant');
  },

  // Answers that are not those of this server, or not of this sign-in.
  async mixed_up() {
    const config = await web();
    const { answer, checks } = await signIn(config);
    for (const [name, value] of [['iss', 'https://evil.example'], ['state', 'another']]) {
      const bent = new URL(answer);
      bent.searchParams.set(name, value);
      await assert.rejects(client.authorizationCodeGrant(config, bent, checks), ({ cause }) => cause.message.includes(`"${name}"`));
    }
    await assert.rejects(signIn(config, {}, { expects: { expectedNonce: 'another' } }), ({ cause }) => /"nonce"/.test(cause));
    await refused(signIn(config, {}, { expects: { pkceCodeVerifier: client.randomPKCECodeVerifier() } }), 'invalid_grant');
    const denied = await person('deny', client.buildAuthorizationUrl(config, {
      redirect_uri: callback, scope: 'openid email', state: 's', prompt: 'consent',
      code_challenge: await client.calculatePKCECodeChallenge(client.randomPKCECodeVerifier()), code_challenge_method: 'S256',
    }));
    await refused(client.authorizationCodeGrant(config, denied, { expectedState: 's' }), 'access_denied');
    assert.equal(denied.searchParams.get('iss'), facts.issuer);
  },

  async refresh() {
    const config = await discover('post', client.ClientSecretPost(secrets.post), { id_token_signed_response_alg: 'RS256' });
    const { tokens } = await signIn(config);
    is(tokens.id_token, 'RS256', 'JWT');
    const next = await client.refreshTokenGrant(config, tokens.refresh_token);
    assert.notEqual(next.refresh_token, tokens.refresh_token);
    assert.notEqual(next.access_token, tokens.access_token);
    assert.equal(next.claims().sub, 'ada');
    assert.equal(next.claims().auth_time, tokens.claims().auth_time);
    // Fewer scopes and fewer resources, never more (RFC 6749 section 6, RFC 8707).
    const less = await client.refreshTokenGrant(config, next.refresh_token, { scope: 'orders:read', resource: facts.stock });
    assert.deepEqual([less.scope, payload(less.access_token).aud], ['orders:read', facts.stock]);
    await refused(client.refreshTokenGrant(config, less.refresh_token, { scope: 'openid groups' }), 'invalid_scope');
    await refused(client.refreshTokenGrant(config, less.refresh_token, { resource: 'https://elsewhere.example' }), 'invalid_target');
    await refused(client.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant');
  },

  async introspection_and_revocation() {
    const [config, orders, stock] = await Promise.all([
      web(),
      discover('orders', client.ClientSecretBasic(secrets.orders)),
      discover('stock', client.ClientSecretBasic(secrets.stock)),
    ]);
    const { tokens } = await signIn(config);
    const told = await client.tokenIntrospection(orders, tokens.access_token);
    assert.deepEqual([told.active, told.client_id, told.sub, told.scope], [true, 'web', 'ada', tokens.scope]);
    assert.ok([told.aud].flat().includes(api));
    // A resource server is told of the tokens that are for it, and of no others.
    assert.deepEqual(await client.tokenIntrospection(stock, tokens.access_token), { active: false });
    assert.equal((await client.tokenIntrospection(config, tokens.refresh_token)).active, true);
    await client.tokenRevocation(config, tokens.access_token);
    assert.deepEqual(await client.tokenIntrospection(orders, tokens.access_token), { active: false });
    const next = await client.refreshTokenGrant(config, tokens.refresh_token);
    await client.tokenRevocation(config, next.refresh_token);
    await refused(client.refreshTokenGrant(config, next.refresh_token), 'invalid_grant');
    assert.deepEqual(await client.tokenIntrospection(orders, next.access_token), { active: false });
    await client.tokenRevocation(config, 'nobody ever issued this');
  },

  async device() {
    const config = await tv();
    const asked = await client.initiateDeviceAuthorization(config, { scope: 'openid profile orders:read' });
    assert.match(asked.user_code, /^\w{4}-\w{4}$/);
    // It waits while the person is still on the way.
    const waiting = client.pollDeviceAuthorizationGrant(config, asked);
    await person('device', asked.verification_uri_complete);
    const tokens = await waiting;
    assert.equal(tokens.claims().sub, 'ada');
    assert.equal((await client.fetchUserInfo(config, tokens.access_token, 'ada')).name, 'Ada L.');
    const next = await client.refreshTokenGrant(config, tokens.refresh_token);
    assert.equal(next.claims().sub, 'ada');
  },

  async client_credentials() {
    const config = await discover('robot', client.ClientSecretBasic(secrets.robot));
    const tokens = await client.clientCredentialsGrant(config, { scope: 'orders:read', resource: api });
    const claims = payload(tokens.access_token);
    assert.deepEqual([claims.sub, claims.client_id, claims.aud, claims.scope], ['robot', 'robot', api, 'orders:read']);
    assert.deepEqual([tokens.refresh_token, tokens.id_token], [undefined, undefined]);
    await refused(client.clientCredentialsGrant(config, { scope: 'stock:read' }), 'invalid_scope');
    const stranger = await discover('robot', client.ClientSecretBasic('not the secret'));
    await assert.rejects(client.clientCredentialsGrant(stranger), { status: 401 });
  },

  // The request goes ahead of the person, signed for by a key (RFC 9126, RFC 7523).
  async pushed() {
    const key = await crypto.subtle.importKey('jwk', facts.signer, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
    const config = await discover('pushing', client.PrivateKeyJwt(key), { id_token_signed_response_alg: 'EdDSA' });
    const { asked, tokens } = await signIn(config, { scope: 'openid orders:read' }, { pushed: true });
    assert.deepEqual([...asked.searchParams.keys()].sort(), ['client_id', 'request_uri']);
    assert.equal(tokens.claims().aud, 'pushing');
    const next = await client.refreshTokenGrant(config, tokens.refresh_token);
    assert.equal(next.claims().sub, 'ada');
    const { privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
    const stranger = await discover('pushing', client.PrivateKeyJwt(privateKey));
    await assert.rejects(client.buildAuthorizationUrlWithPAR(stranger, { redirect_uri: callback, scope: 'openid' }), { status: 401 });
  },

  async token_exchange() {
    const [config, orders] = await Promise.all([web(), discover('orders', client.ClientSecretBasic(secrets.orders))]);
    const { tokens } = await signIn(config);
    const grant = 'urn:ietf:params:oauth:grant-type:token-exchange';
    const ask = {
      subject_token: tokens.access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: facts.stock,
    };
    const exchanged = await client.genericGrantRequest(orders, grant, ask);
    const claims = payload(exchanged.access_token);
    assert.equal(exchanged.issued_token_type, 'urn:ietf:params:oauth:token-type:access_token');
    assert.deepEqual([claims.sub, claims.aud, claims.client_id], ['ada', facts.stock, 'orders']);
    assert.equal(claims.act.sub, 'orders');
    assert.ok(claims.exp <= payload(tokens.access_token).exp);
    await refused(client.genericGrantRequest(orders, grant, { ...ask, resource: 'https://elsewhere.example' }), 'invalid_target');
    await refused(client.genericGrantRequest(orders, grant, { ...ask, subject_token: tokens.id_token }), 'invalid_request');
  },

  async sign_out() {
    const config = await web();
    const { tokens } = await signIn(config);
    const url = client.buildEndSessionUrl(config, {
      id_token_hint: tokens.id_token, post_logout_redirect_uri: facts.signedOut, state: 'bye',
    });
    const end = await person('sign_out', url);
    assert.equal(end.href, `${facts.signedOut}?state=bye`);
    await refused(client.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant');
    // The next one has to sign in again, and is somebody who just did.
    const again = await signIn(config);
    assert.ok(again.tokens.claims().auth_time >= tokens.claims().auth_time);
    assert.notEqual(again.tokens.claims().sid, tokens.claims().sid);
  },
});
